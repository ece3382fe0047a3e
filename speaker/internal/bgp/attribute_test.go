// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"testing"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
)

// many returns n communities, and how routers write them.
func many(n int) (list []bgp.Community, words []string) {
	for i := range n {
		list = append(list, bgp.Community(64500<<16|uint32(i)))
		words = append(words, community(64500, i))
	}
	return list, words
}

// LOCAL_PREF is for iBGP only (RFC 4271, 5.1.5); communities are for all.
func TestAttributes(t *testing.T) {
	path := bgp.Path{
		LocalPref:        230,
		Communities:      []bgp.Community{64500<<16 | 9, 64500<<16 | 7, 64500<<16 | 9},
		LargeCommunities: []bgp.LargeCommunity{{64500, 2, 1}, {64500, 1, 4294967295}},
	}
	for name, asn := range map[string]uint32{"iBGP": nodeASN, "eBGP": peerASN} {
		t.Run(name, func(t *testing.T) {
			c := expecting(bgptest.Neighbor{Address: node4})
			c.ASN = asn
			withRouters(t, c, func(t *testing.T, r bgptest.Router) {
				w := run(t)
				w.advertise(t, "tor", path, lb4, lb6)
				p := peer()
				p.RemoteASN = asn
				w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
				want := external(r, "192.0.2.1")
				if asn == nodeASN {
					want.ASPath, want.LocalPref = internal(r), 230
				}
				want.Communities = []string{"64500:7", "64500:9"}
				want.LargeCommunities = []string{"64500:1:4294967295", "64500:2:1"}
				awaitRoute(t, r, lb4, want)
				want.NextHops = []string{"2001:db8::1"}
				awaitRoute(t, r, lb6, want)

				// More than an attribute has room for without extended length; birdc does
				// not print that many.
				n := 100
				if _, ok := r.(*bgptest.BIRD); ok {
					n = 40
				}
				list, words := many(n)
				w.advertise(t, "tor", bgp.Path{Communities: list}, lb6)
				want.Communities, want.LargeCommunities = words, nil
				if asn == nodeASN {
					want.LocalPref = 100
				}
				awaitRoute(t, r, lb6, want)
			})
		})
	}
}

// internal is the AS path of a route from the same AS.
func internal(r bgptest.Router) string {
	if _, ok := r.(*bgptest.BIRD); ok {
		return ""
	}
	return "Local"
}

// What is said again is not sent again, and what is changed is sent once.
func TestOneUpdateForOneChange(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		path := bgp.Path{Communities: []bgp.Community{1, 2}}
		w.advertise(t, "tor", path, lb4, lb6)
		peers := map[bgp.PeerName]bgp.Peer{"tor": peer()}
		w.Peers(peers)
		awaitCount(t, r, 2)
		before := w.metric(t, "metallb_bgp_updates_total")

		w.Peers(peers)
		w.advertise(t, "tor", bgp.Path{Communities: []bgp.Community{2, 1, 2}}, lb4, lb6)
		w.advertise(t, "tor", path, "198.51.100.2/32")
		awaitCount(t, r, 3)
		if got := w.metric(t, "metallb_bgp_updates_total") - before; got != 1 {
			t.Errorf("%v UPDATEs were sent for one new route, want 1", got)
		}
		if s := w.Snapshot()["tor"]; s.Advertised != 3 || s.Pending != 0 {
			t.Errorf("%d routes are advertised and %d pending, want 3 and 0", s.Advertised, s.Pending)
		}
	})
}

// A peer gets what is keyed by it, and with its own ASN and router ID.
func TestPeersAreApart(t *testing.T) {
	at := newSite(t)
	at.AddAddress(t, "eth0", "192.0.2.3/24")
	at.host.AddAddress(t, at.link, "192.0.2.4/24")
	c := bgptest.Config{ASN: peerASN, RouterID: router4.String(), Neighbors: []bgptest.Neighbor{
		{Address: node4, ASN: nodeASN, Local: router4},
		{Address: addr("192.0.2.4"), ASN: 64510, Local: addr("192.0.2.3")},
	}}
	r := bgptest.NewBIRD(t, at.Namespace, c)
	w := run(t)
	w.advertise(t, "one", bgp.Path{}, "198.51.100.1/32", "198.51.100.3/32")
	w.advertise(t, "two", bgp.Path{}, "198.51.100.2/32")
	w.advertise(t, "two", bgp.Path{Communities: []bgp.Community{64500<<16 | 2}}, "198.51.100.4/32")
	one, two := peer(), peer()
	one.Source = node4
	two.Address, two.Source = addr("192.0.2.3"), addr("192.0.2.4")
	two.LocalASN, two.RouterID = 64510, addr("192.0.2.4")
	w.Peers(map[bgp.PeerName]bgp.Peer{"one": one, "two": two})
	awaitCount(t, r, 4)
	want := external(r, "192.0.2.1")
	awaitRoute(t, r, "198.51.100.1/32", want)
	want.NextHops, want.ASPath = []string{"192.0.2.4"}, "64510"
	awaitRoute(t, r, "198.51.100.2/32", want)
	want.Communities = []string{"64500:2"}
	awaitRoute(t, r, "198.51.100.4/32", want)

	// One that goes takes its routes along, and nothing of the other.
	w.Peers(map[bgp.PeerName]bgp.Peer{"two": two})
	awaitCount(t, r, 2)
	if _, ok := w.Snapshot()["one"]; ok {
		t.Error("a peer that is gone is in the snapshot")
	}
}
