// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/lb"
)

// largeSpeaker returns a speaker with that many Services whose first round is over,
// one of three nodes, not running.
func largeSpeaker(b *testing.B, services int) *speaker {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &speaker{
		members: newFakeMembers("a", "b", "c"), links: newFakeLinks("eth0"),
		layer2: &fakeLayer2{announced: make(map[netip.Addr][]string)}, events: new(fakeEvents),
		inventory: NewInventory(""), api: newFakeStatusAPI(), registry: prometheus.NewRegistry(),
	}
	exclusions, err := ReadExclusions(b.TempDir()+"/absent", log)
	if err != nil {
		b.Fatal(err)
	}
	s.statuses = NewStatuses(StatusOwner{Node: "a", Namespace: "system"}, s.api, log)
	s.Loop = New(Config{
		Node: "a", Inventory: s.inventory, Members: s.members, Links: s.links, Exclusions: exclusions,
		Layer2: s.layer2, Events: s.events, Statuses: s.statuses, Log: log, Registerer: s.registry,
	})
	fill(s.inventory, "a", "b", "c")
	wide := pool("10.0.0.0/8")
	wide.Name, wide.UID = "wide", "wide"
	s.inventory.OnPool(nil, wide)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		add(s.inventory, name, a.String())
		a = a.Next()
	}
	s.takeNodes()
	s.follow()
	s.round(b.Context())
	return s
}

// BenchmarkChangedService is from the informer's callback to the end of the round.
func BenchmarkChangedService(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			s := largeSpeaker(b, n)
			old := service("service-7", "10.0.0.8")
			now := [2]*corev1.Service{old.DeepCopy(), old.DeepCopy()}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				s.inventory.OnService(old, now[i%2])
				s.round(b.Context())
			}
		})
	}
}

// BenchmarkChangedMembers is a round after a node has died, or come back.
func BenchmarkChangedMembers(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		for i, change := range []string{"death", "return"} {
			b.Run(fmt.Sprintf("%s/services=%d", change, n), func(b *testing.B) {
				s := largeSpeaker(b, n)
				members := [2][]lb.NodeName{{"a", "b"}, {"a", "b", "c"}}
				regroup := func(to []lb.NodeName) {
					s.members.set(to...)
					s.regrouped = true
					s.round(b.Context())
				}
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					regroup(members[1-i])
					b.StartTimer()
					regroup(members[i])
				}
			})
		}
	}
}

// BenchmarkMemory reports what one Service costs beyond the informers' objects.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	services := make([]*corev1.Service, n)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range services {
		services[i] = service(fmt.Sprintf("service-%d", i), a.String())
		a = a.Next()
	}
	var before, after runtime.MemStats
	for b.Loop() {
		s := largeSpeaker(b, 0)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, svc := range services {
			s.inventory.OnService(nil, svc)
		}
		s.round(b.Context())
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/service")
		runtime.KeepAlive(s)
	}
}
