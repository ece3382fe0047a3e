// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// routers are what each story is told to.
var routers = map[string]func(testing.TB, *linktest.Namespace, bgptest.Config) bgptest.Router{
	"FRR":  bgptest.NewFRR,
	"BIRD": bgptest.NewBIRD,
}

// withRouters runs a test with each router, on a link of its own.
func withRouters(t *testing.T, c bgptest.Config, test func(*testing.T, bgptest.Router)) {
	t.Helper()
	for name, start := range routers {
		t.Run(name, func(t *testing.T) { test(t, start(t, newSite(t).Namespace, c)) })
	}
}

// expecting is a router that expects this neighbor.
func expecting(n bgptest.Neighbor) bgptest.Config {
	if n.ASN == 0 {
		n.ASN = nodeASN
	}
	return bgptest.Config{ASN: peerASN, RouterID: router4.String(), Neighbors: []bgptest.Neighbor{n}}
}

const (
	lb4 = "198.51.100.1/32"
	lb6 = "2001:db8:1::1/128"
)

func awaitCount(t *testing.T, r bgptest.Router, want int) {
	t.Helper()
	var got int
	linktest.Await(t, func() bool {
		got = r.Count()
		return got == want
	}, func() { t.Logf("the router has %d routes, want %d", got, want) })
}

// awaitRoute waits until the router has exactly this route.
func awaitRoute(t *testing.T, r bgptest.Router, prefix string, want bgptest.Route) {
	t.Helper()
	var got bgptest.Route
	linktest.Await(t, func() bool {
		got, _ = r.Route(prefix)
		return cmp.Equal(want, got)
	}, func() { t.Logf("route to %s (-want +got):\n%s", prefix, cmp.Diff(want, got)) })
}

// Both families over either transport, each with a next hop of its own.
func TestFamilies(t *testing.T) {
	for name, test := range map[string]struct{ node, router netip.Addr }{
		"over IPv4": {node4, router4},
		"over IPv6": {node6, router6},
	} {
		t.Run(name, func(t *testing.T) {
			withRouters(t, expecting(bgptest.Neighbor{Address: test.node}), func(t *testing.T, r bgptest.Router) {
				w := run(t)
				w.advertise(t, "tor", bgp.Path{}, lb4, lb6)
				p := peer()
				p.Address = test.router
				w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
				s := w.established(t, "tor")
				if both := bgp.IPv4Unicast | bgp.IPv6Unicast; s.Families != both {
					t.Errorf("families are %s, want %s", s.Families, both)
				}
				awaitRoute(t, r, lb4, external(r, "192.0.2.1"))
				awaitRoute(t, r, lb6, external(r, "2001:db8::1"))
				w.Withdraw(bgp.PathKey{Peer: "tor", Prefix: netip.MustParsePrefix(lb4)})
				awaitCount(t, r, 1)
			})
		})
	}
}

// external is a route from the node's AS. BIRD gives a route a LOCAL_PREF at once, FRR
// does not show that.
func external(r bgptest.Router, hops ...string) bgptest.Route {
	route := bgptest.Route{NextHops: hops, ASPath: "64500"}
	if _, ok := r.(*bgptest.BIRD); ok {
		route.LocalPref = 100
	}
	return route
}
