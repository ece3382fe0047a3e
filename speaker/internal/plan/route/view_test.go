// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

func TestRouterID(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	wish := lb.Peer{Name: "p", MyASN: 1, ASN: 2, Address: v6, RouterID: netip.MustParseAddr("10.0.0.1")}
	id := func(node lb.Node, peers ...lb.Peer) netip.Addr {
		return route.NewView(route.Input{Config: &lb.Config{Peers: peers}, Node: &node}).RouterID()
	}
	if got := id(lb.Node{Name: "a", Addresses: []netip.Addr{v6, v4}}, wish); got != wish.RouterID {
		t.Errorf("router ID %s; want that of the peer", got)
	}
	if got := id(lb.Node{Name: "a", Addresses: []netip.Addr{v6, v4}}); got != v4 {
		t.Errorf("router ID %s; want the node's IPv4 address", got)
	}
	a, b := id(lb.Node{Name: "a", Addresses: []netip.Addr{v6}}), id(lb.Node{Name: "b"})
	if a == b || !a.Is4() || a.IsUnspecified() || a != id(lb.Node{Name: "a"}) {
		t.Errorf("router IDs of nodes without IPv4 are %s and %s", a, b)
	}
}
