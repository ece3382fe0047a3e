// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// benchPools are the sizes that must make no difference.
func benchPools() map[string]lb.Pool {
	pool := func(first, last string) lb.Pool {
		r, _ := lb.MakeRange(netip.MustParseAddr(first), netip.MustParseAddr(last))
		return lb.Pool{Name: "bench", AutoAssign: true, Ranges: []lb.Range{r}}
	}
	return map[string]lb.Pool{
		"v4-8":  pool("10.0.0.0", "10.255.255.255"),
		"v6-64": pool("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
	}
}

func benchClaims(n int, f lb.Family) []ipam.Claim {
	claims := make([]ipam.Claim, n)
	for i := range claims {
		claims[i] = ipam.Claim{Service: &lb.Service{
			Name:         lb.ServiceName{Namespace: "bench", Name: fmt.Sprintf("service-%06d", i)},
			Created:      time.Unix(int64(i), 0),
			Families:     []lb.Family{f},
			FamilyPolicy: corev1.IPFamilyPolicySingleStack,
			Ports:        []lb.Port{{Protocol: corev1.ProtocolTCP, Number: 80}},
		}}
	}
	return claims
}

// filled returns an Allocator in which n Services have addresses.
func filled(b *testing.B, p lb.Pool, n int) (*ipam.Allocator, []ipam.Claim) {
	b.Helper()
	a := ipam.New()
	a.SetPools([]lb.Pool{p})
	claims := benchClaims(n, p.Ranges[0].Family())
	for _, c := range claims {
		a.Assign(c)
	}
	return a, claims
}

// BenchmarkChurn releases one of n Services and assigns it anew, every other address
// being free.
func BenchmarkChurn(b *testing.B) {
	for name, p := range benchPools() {
		for _, n := range []int{1_000, 10_000, 50_000} {
			b.Run(fmt.Sprint(name, "/n=", n), func(b *testing.B) {
				a, claims := filled(b, p, n)
				for i := 0; i < n; i += 2 {
					a.Release(claims[i].Service.Name)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					c := claims[(2*i+1)%n]
					a.Release(c.Service.Name)
					a.Assign(c)
				}
			})
		}
	}
}

// BenchmarkRepeat is a claim that changes nothing, which most events are.
func BenchmarkRepeat(b *testing.B) {
	a, claims := filled(b, benchPools()["v4-8"], 10_000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		a.Assign(claims[i%len(claims)])
	}
}

// BenchmarkReleaseWhileWaiting gives an address back while n Services wait for one:
// the oldest gets it, and the rest cost nothing.
func BenchmarkReleaseWhileWaiting(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			r, _ := lb.MakeRange(netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.0.0"))
			a, claims := filled(b, lb.Pool{Name: "bench", AutoAssign: true, Ranges: []lb.Range{r}}, n)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c := claims[i%n]
				a.Release(c.Service.Name)
				a.Assign(c)
			}
		})
	}
}

// BenchmarkShared has n Services with one key and one port, as templates make them:
// each needs an address of its own.
func BenchmarkShared(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			a := ipam.New()
			a.SetPools([]lb.Pool{benchPools()["v4-8"]})
			claims := benchClaims(n, lb.IPv4)
			for _, c := range claims {
				c.Service.SharingKey = "all"
				a.Assign(c)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c := claims[i%n]
				a.Release(c.Service.Name)
				a.Assign(c)
			}
		})
	}
}

// BenchmarkSetPools is an edit of the pools while n Services have addresses.
func BenchmarkSetPools(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			p := benchPools()["v4-8"]
			a, _ := filled(b, p, n)
			b.ResetTimer()
			for range b.N {
				a.SetPools([]lb.Pool{p})
			}
		})
	}
}
