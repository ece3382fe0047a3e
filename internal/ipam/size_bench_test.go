// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// benchSizes are the numbers of Services that are promised to cost the same each.
func benchSizes() []int { return []int{1_000, 10_000, 50_000} }

// bySize runs a benchmark for each pool and each size. It is one operation on each of
// n Services; prepare is not measured. ns/op is per Service.
func bySize[T any](b *testing.B, prepare func(lb.Pool, []ipam.Claim) T, each func(T, ipam.Claim)) {
	for name, p := range benchPools() {
		for _, n := range benchSizes() {
			b.Run(fmt.Sprint(name, "/n=", n), func(b *testing.B) {
				claims := benchClaims(n, p.Ranges[0].Family())
				for i := range claims {
					// Where the Service is found when it is adopted.
					claims[i].Service.AllocatedFrom = p.Name
					claims[i].Service.Addresses = []netip.Addr{place(p.Ranges[0].First(), i)}
				}
				for range b.N {
					b.StopTimer()
					prepared := prepare(p, claims)
					runtime.GC() // of what was there before
					b.StartTimer()
					for _, c := range claims {
						each(prepared, c)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/op")
			})
		}
	}
}

// place returns the address i after first, for small i.
func place(first netip.Addr, i int) netip.Addr {
	bytes := first.AsSlice()
	for at := len(bytes) - 1; i > 0; at-- {
		bytes[at] += byte(i)
		i >>= 8
	}
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

func empty(p lb.Pool, _ []ipam.Claim) *ipam.Allocator {
	a := ipam.New()
	a.SetPools([]lb.Pool{p})
	return a
}

// BenchmarkAssign is the first assignment of a Service.
func BenchmarkAssign(b *testing.B) {
	bySize(b, empty, func(a *ipam.Allocator, c ipam.Claim) { a.Assign(c) })
}

// BenchmarkAdopt takes over the address that a Service was found with.
func BenchmarkAdopt(b *testing.B) {
	bySize(b, empty, func(a *ipam.Allocator, c ipam.Claim) { a.Adopt(c) })
}

// BenchmarkRelease gives the address of a Service back.
func BenchmarkRelease(b *testing.B) {
	assigned := func(p lb.Pool, claims []ipam.Claim) *ipam.Allocator {
		a := empty(p, claims)
		for _, c := range claims {
			a.Assign(c)
		}
		return a
	}
	bySize(b, assigned, func(a *ipam.Allocator, c ipam.Claim) { a.Release(c.Service.Name) })
}

// BenchmarkMap is the least that has to be done for an assignment: to write it down
// under the name of the Service and under the address.
func BenchmarkMap(b *testing.B) {
	type books struct {
		holders   map[netip.Addr]lb.ServiceName
		addresses map[lb.ServiceName]netip.Addr
	}
	blank := func(lb.Pool, []ipam.Claim) books {
		return books{map[netip.Addr]lb.ServiceName{}, map[lb.ServiceName]netip.Addr{}}
	}
	bySize(b, blank, func(k books, c ipam.Claim) {
		k.holders[c.Service.Addresses[0]] = c.Service.Name
		k.addresses[c.Service.Name] = c.Service.Addresses[0]
	})
}

// BenchmarkMemory reports the heap that an Allocator keeps for each address, without
// the claims themselves, whose Services belong to somebody else.
func BenchmarkMemory(b *testing.B) {
	for name, p := range benchPools() {
		for _, n := range benchSizes() {
			b.Run(fmt.Sprint(name, "/n=", n), func(b *testing.B) {
				claims := benchClaims(n, p.Ranges[0].Family())
				for range b.N {
					before := heap()
					a := empty(p, claims)
					for _, c := range claims {
						a.Assign(c)
					}
					b.ReportMetric(float64(heap()-before)/float64(n), "bytes/address")
					runtime.KeepAlive(a)
				}
				runtime.KeepAlive(claims)
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
