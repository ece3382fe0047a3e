// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"testing"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestFirst(t *testing.T) {
	ns := newLink(t)
	frr := bgptest.NewFRR(t, ns, `
router bgp 64501
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 192.0.2.1 remote-as 64500
 neighbor 192.0.2.1 passive
 address-family ipv4 unicast
  neighbor 192.0.2.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 192.0.2.1 activate
 exit-address-family
`)
	w := run(t)
	w.advertise(t, "r", bgp.Path{Communities: []bgp.Community{64500<<16 | 7}, LargeCommunities: []bgp.LargeCommunity{{1, 2, 3}}},
		"198.51.100.1/32", "198.51.100.2/32", "2001:db8:1::1/128")
	w.Peers(map[bgp.PeerName]bgp.Peer{"r": peer()})
	s := w.established(t, "r")
	t.Logf("%+v", s)
	linktest.Await(t, func() bool { return frr.Count() == 3 }, func() { t.Log(frr.Count()) })
	t.Log(frr.Show("show bgp ipv4 unicast 198.51.100.1/32 json"))
	t.Log(frr.Route("198.51.100.1/32"))
	t.Log(frr.Route("2001:db8:1::1/128"))
}
