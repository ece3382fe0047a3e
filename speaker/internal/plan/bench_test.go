// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

func largeInput(nodes int) plan.Input {
	in := plan.Input{
		Self:    "node-0",
		Members: make(map[lb.NodeName]struct{}),
		Config: &lb.Config{
			Pools: []lb.Pool{{Name: "p", Ranges: []lb.Range{mustRange("10.0.0.0-10.255.255.255")}}},
			L2Advertisements: []lb.L2Advertisement{
				{Name: "a", Pools: setOf([]string{"p"}), NodeSelectors: selectors([]string{"role=worker"})},
				{Name: "b", Pools: setOf([]string{"p"}), ServiceSelectors: selectors([]string{"app=web"}), Interfaces: []string{"eth0"}},
			},
		},
	}
	for i := range nodes {
		name := lb.NodeName(fmt.Sprintf("node-%d", i))
		in.Nodes = append(in.Nodes, lb.Node{Name: name, Labels: labels.Set{"role": "worker", "zone": fmt.Sprint(i % 3)}})
		in.Members[name] = struct{}{}
	}
	return in
}

func largeServices(n int) map[netip.Addr][]plan.Sharer {
	m := make(map[netip.Addr][]plan.Sharer, n)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range n {
		s := &lb.Service{
			Name:      lb.ServiceName{Namespace: "default", Name: fmt.Sprint("s", i)},
			Labels:    labels.Set{"app": "db"},
			Addresses: []netip.Addr{a}, Local: i%4 == 0,
		}
		endpoints := lb.Endpoints{Nodes: map[lb.NodeName]struct{}{"node-1": {}, "node-2": {}, "node-3": {}}}
		m[a] = []plan.Sharer{{Service: s, Endpoints: endpoints}}
		a = a.Next()
	}
	return m
}

// BenchmarkOneService is the cost of one changed Service, which must not depend on
// the number of Services.
func BenchmarkOneService(b *testing.B) {
	for _, nodes := range []int{10, 1000, 5000} {
		view := plan.NewView(largeInput(nodes))
		for _, n := range []int{10_000, 100_000} {
			services := largeServices(n)
			changed := netip.MustParseAddr("10.0.0.2")
			b.Run(fmt.Sprintf("nodes=%d/services=%d", nodes, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					view.Decide(changed, services[changed])
				}
			})
		}
	}
}

// BenchmarkOwnership is the same with addresses spread evenly and claimed by their owners:
// one Service changes, goes and comes; a node dies, which decides every address again; one
// comes, and every speaker finds out what it is to leave to it.
func BenchmarkOwnership(b *testing.B) {
	for _, nodes := range []int{10, 1000, 5000} {
		in := largeInput(nodes)
		for _, n := range []int{10_000, 100_000} {
			services := largeServices(n)
			sharers := func(a netip.Addr) []plan.Sharer { return services[a] }
			o := plan.NewOwnership()
			claims := decideAll(o, in, services, nil)
			decideAll(o, in, services, claims)
			addresses := slices.Collect(maps.Keys(services))
			b.Run(fmt.Sprintf("change/nodes=%d/services=%d", nodes, n), func(b *testing.B) {
				verdicts := 0
				for i := 0; b.Loop(); i++ {
					a := addresses[i/2%len(addresses)]
					if i%2 == 0 {
						o.Put(a, nil, "")
					} else {
						o.Put(a, services[a], claims[a])
					}
					for range o.Settle(sharers) {
						verdicts++
					}
				}
				b.ReportMetric(float64(verdicts)/float64(b.N), "verdicts/op")
			})
			b.Run(fmt.Sprintf("death/nodes=%d/services=%d", nodes, n), func(b *testing.B) {
				benchmarkDeath(b, o, in, services, claims)
			})
			b.Run(fmt.Sprintf("arrival/nodes=%d/services=%d", nodes, n), func(b *testing.B) {
				benchmarkArrival(b, o, in, services, claims)
			})
		}
	}
}

// benchmarkDeath has one node after the other die, alone. Next to the time it tells that
// of the processor, which others cannot lengthen; the addresses that moved, in shares of
// the dead; and the most that a node owned before, in parts of what it may.
func benchmarkDeath(
	b *testing.B, o *plan.Ownership, in plan.Input, services map[netip.Addr][]plan.Sharer, claims map[netip.Addr]lb.NodeName,
) {
	nodes := len(in.Nodes)
	whole := decideAll(o, in, services, claims)
	moved, share := 0, 0
	var used time.Duration
	claimants := func(a netip.Addr) []lb.NodeName { return []lb.NodeName{claims[a]} }
	sharers := func(a netip.Addr) []plan.Sharer { return services[a] }
	for i := 0; b.Loop(); i++ {
		gone := lb.NodeName(fmt.Sprintf("node-%d", 5+i%(nodes-5)))
		rest := make(map[netip.Addr]lb.NodeName)
		delete(in.Members, gone)
		before := processorTime(b)
		if again := o.Lose(plan.NewView(in), []lb.NodeName{gone}, claimants); len(again) > 0 {
			b.Fatalf("%d addresses have to be put in again", len(again))
		}
		for a, v := range o.Settle(sharers) {
			rest[a] = v.Owner
		}
		used += processorTime(b) - before
		in.Members[gone] = struct{}{}
		b.StopTimer()
		for a, owner := range whole {
			if owner == gone {
				share++
			}
			if now, ok := rest[a]; ok && owner != now {
				moved++
			}
		}
		decideAll(o, in, services, claims)
		b.StartTimer()
	}
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(moved)/float64(max(1, share)), "moved/share")
	b.ReportMetric(fullest(whole, services, nodes), "load/limit")
}

// benchmarkArrival has a node come that has nothing: what it had it has lost for good.
func benchmarkArrival(
	b *testing.B, o *plan.Ownership, in plan.Input, services map[netip.Addr][]plan.Sharer, claims map[netip.Addr]lb.NodeName,
) {
	due := 0
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		gone := lb.NodeName(fmt.Sprintf("node-%d", 5+i%(len(in.Nodes)-5)))
		delete(in.Members, gone)
		rest := decideAll(o, in, services, claims)
		in.Members[gone] = struct{}{}
		decideAll(o, in, services, rest)
		b.StartTimer()
		for _, addresses := range o.Due("node-0").To {
			due += len(addresses)
		}
	}
	b.ReportMetric(float64(due)/float64(b.N), "due/op")
}

// fullest returns how many addresses a node owns at most of those that any node may own,
// divided by how many it may.
func fullest(owners map[netip.Addr]lb.NodeName, services map[netip.Addr][]plan.Sharer, nodes int) float64 {
	loads, all, most := make(map[lb.NodeName]int), 0, 0
	for a, owner := range owners {
		if !services[a][0].Service.Local {
			loads[owner]++
			all++
			most = max(most, loads[owner])
		}
	}
	return float64(most) / float64((5*all+4*nodes-1)/(4*nodes))
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// decideAll decides on all addresses, and returns their owners.
func decideAll(
	o *plan.Ownership, in plan.Input, services map[netip.Addr][]plan.Sharer, claims map[netip.Addr]lb.NodeName,
) map[netip.Addr]lb.NodeName {
	owners := make(map[netip.Addr]lb.NodeName, len(services))
	o.Use(plan.NewView(in))
	for a, sharers := range services {
		o.Put(a, sharers, claims[a])
	}
	for a, v := range o.Settle(nil) {
		owners[a] = v.Owner
	}
	return owners
}

func BenchmarkNewView(b *testing.B) {
	in := largeInput(5000)
	for b.Loop() {
		plan.NewView(in)
	}
}
