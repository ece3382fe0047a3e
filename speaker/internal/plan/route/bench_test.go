// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

func largeView(aggregation int) *route.View {
	c := &lb.Config{
		Pools: []lb.Pool{{Name: "p", Ranges: []lb.Range{mustRange("10.0.0.0/8")}}},
		BGPAdvertisements: []lb.BGPAdvertisement{
			{Name: "all", Pools: setOf([]string{"p"}), Aggregation4: aggregation, Aggregation6: 128},
			{Name: "web", Pools: setOf([]string{"p"}), Aggregation4: 32, Aggregation6: 128, ServiceSelectors: selectors([]string{"app=web"})},
		},
	}
	for i := range 4 {
		c.Peers = append(c.Peers, lb.Peer{
			Name: fmt.Sprint("tor-", i), MyASN: 1, ASN: 2, Address: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)),
		})
	}
	return route.NewView(route.Input{Config: c, Node: &lb.Node{Name: "self"}})
}

func largeServices(n int) map[netip.Addr][]plan.Sharer {
	m := make(map[netip.Addr][]plan.Sharer, n)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range n {
		s := &lb.Service{Name: lb.ServiceName{Namespace: "default", Name: fmt.Sprint("s", i)}, Addresses: []netip.Addr{a}}
		m[a] = []plan.Sharer{{Service: s, Endpoints: lb.Endpoints{Elsewhere: true}}}
		a = a.Next()
	}
	return m
}

func fill(t *route.Table, v *route.View, services map[netip.Addr][]plan.Sharer) int {
	t.Use(v)
	for a, sharers := range services {
		t.Put(a, v.Decide(a, sharers).Claims)
	}
	return len(t.Changes())
}

// BenchmarkOneService is the cost of one Service that goes and comes again, towards
// four peers, which must not depend on how many others there are, nor on how many
// share a prefix with it.
func BenchmarkOneService(b *testing.B) {
	for _, aggregation := range []int{32, 8} {
		view := largeView(aggregation)
		for _, n := range []int{100, 10_000, 100_000} {
			b.Run(fmt.Sprintf("length=%d/services=%d", aggregation, n), func(b *testing.B) {
				services, table := largeServices(n), route.NewTable()
				fill(table, view, services)
				changed := netip.MustParseAddr("10.0.0.2")
				b.ReportAllocs()
				for b.Loop() {
					table.Put(changed, nil)
					table.Changes()
					table.Put(changed, view.Decide(changed, services[changed]).Claims)
					table.Changes()
				}
			})
		}
	}
}

// BenchmarkRecompute is the cost of a changed View: the View itself, a decision on every
// address, and finding that nothing has changed.
func BenchmarkRecompute(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			services, table := largeServices(n), route.NewTable()
			if changes := fill(table, largeView(32), services); changes != 4*n {
				b.Fatalf("%d changes at first; want %d", changes, 4*n)
			}
			for b.Loop() {
				if changes := fill(table, largeView(32), services); changes != 0 {
					b.Fatalf("%d changes of what has not changed", changes)
				}
			}
		})
	}
}
