// SPDX-License-Identifier: Apache-2.0

package elect_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// matching is what a Spread must agree with: it serves addresses one after the other,
// those of the highest rank first.
func matching(nodes *elect.Nodes, candidates elect.Set, terms map[netip.Addr]elect.Terms) map[netip.Addr]int {
	order := slices.SortedFunc(maps.Keys(terms), func(a, b netip.Addr) int {
		claimed := func(x netip.Addr) int { return min(terms[x].Claimant, 0) } // -1: no
		return cmp.Or(cmp.Compare(claimed(b), claimed(a)), cmp.Compare(terms[a].Age, terms[b].Age), a.Compare(b))
	})
	owners, loads := make(map[netip.Addr]int), make(map[int]int)
	for _, a := range order {
		ranking := nodes.Rank(nil, elect.KeyOf(a), candidates, candidates.Len())
		i := slices.IndexFunc(ranking, func(n int) bool { return loads[n] < elect.Limit(len(terms), candidates.Len()) })
		if c := terms[a].Claimant; c != elect.Nobody {
			i = slices.Index(ranking, c)
		}
		owners[a] = ranking[i]
		loads[ranking[i]]++
	}
	return owners
}

func ownersIn(t *testing.T, s *elect.Spread, terms map[netip.Addr]elect.Terms) map[netip.Addr]int {
	t.Helper()
	owners := make(map[netip.Addr]int)
	for a := range terms {
		owner, ok := s.Owner(a)
		if !ok {
			t.Fatalf("%s has no owner", a)
		}
		owners[a] = owner
	}
	return owners
}

// Whatever comes and goes in whatever order, the owners are those that a fresh look
// would find, and Settle tells exactly which have changed.
func TestSpreadHasNoMemory(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		nodes := elect.NewNodes(names(1 + r.IntN(9)))
		candidates := all(nodes)
		if nodes.Len() > 2 && r.IntN(2) == 0 {
			candidates.Remove(r.IntN(nodes.Len()))
		}
		s := elect.NewSpread(elect.NewRankings(nodes), slices.Clone(candidates))
		terms, was := make(map[netip.Addr]elect.Terms), make(map[netip.Addr]int)
		room := 4 + r.IntN(60)
		for range 60 {
			for range 1 + r.IntN(4) {
				change(r, s, terms, netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(room))}), candidates)
			}
			if candidates.Len() > 1 && r.IntN(10) == 0 {
				lose(r, s, terms, candidates)
			}
			told := make(map[netip.Addr]bool)
			s.Settle(func(a netip.Addr) { told[a] = true })
			now := ownersIn(t, s, terms)
			want := matching(nodes, candidates, terms)
			if diff := gocmp.Diff(want, now, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Fatalf("seed %d: owners (-fresh +spread):\n%s", seed, diff)
			}
			for a, owner := range now {
				if before, ok := was[a]; told[a] != (!ok || before != owner) {
					t.Fatalf("seed %d: %s: owner was %d, is %d, told: %t", seed, a, before, owner, told[a])
				}
			}
			was = now
		}
	}
}

// change puts or removes an address at random.
func change(r *rand.Rand, s *elect.Spread, terms map[netip.Addr]elect.Terms, a netip.Addr, candidates elect.Set) {
	if _, ok := terms[a]; ok && r.IntN(2) == 0 {
		delete(terms, a)
		s.Remove(a)
		return
	}
	t := elect.Terms{Age: int64(r.IntN(5)), Claimant: elect.Nobody}
	if r.IntN(4) == 0 {
		members := slices.Collect(candidates.All())
		t.Claimant = members[r.IntN(len(members))]
	}
	terms[a] = t
	s.Put(a, t)
}

// lose takes out a candidate at random, with what it claims.
func lose(r *rand.Rand, s *elect.Spread, terms map[netip.Addr]elect.Terms, candidates elect.Set) {
	members := slices.Collect(candidates.All())
	gone := members[r.IntN(len(members))]
	candidates.Remove(gone)
	s.Lose(gone)
	for a, t := range terms {
		if t.Claimant == gone {
			terms[a] = elect.Terms{Age: t.Age, Claimant: elect.Nobody}
		}
	}
}

// settled returns a spread of addresses over all nodes but those that are gone.
func settled(r *elect.Rankings, addresses []netip.Addr, gone ...int) *elect.Spread {
	candidates := all(r.Nodes())
	for _, node := range gone {
		candidates.Remove(node)
	}
	s := elect.NewSpread(r, candidates)
	for i, a := range addresses {
		s.Put(a, elect.Terms{Age: int64(i), Claimant: elect.Nobody})
	}
	s.Settle(func(netip.Addr) {})
	return s
}

func addresses(first string, n int) []netip.Addr {
	as := make([]netip.Addr, n)
	for i, a := 0, netip.MustParseAddr(first); i < n; i, a = i+1, a.Next() {
		as[i] = a
	}
	return as
}

// No candidate owns more than 1.25 times the mean, rounded up: for any number of
// addresses and of candidates.
func TestSpreadBound(t *testing.T) {
	for n := 1; n <= 12; n++ {
		nodes := elect.NewNodes(names(n))
		s := elect.NewSpread(elect.NewRankings(nodes), all(nodes))
		for i, a := range addresses("192.0.2.0", 80) {
			s.Put(a, elect.Terms{Age: int64(i), Claimant: elect.Nobody})
			s.Settle(func(netip.Addr) {})
			expectWithin(t, s, n, addresses("192.0.2.0", i+1))
		}
	}
	for _, n := range []int{3, 100, 1000} {
		r := elect.NewRankings(elect.NewNodes(names(n)))
		as := addresses("2001:db8::", 20*n)
		expectWithin(t, settled(r, as), n, as)
	}
}

func expectWithin(t *testing.T, s *elect.Spread, candidates int, as []netip.Addr) {
	t.Helper()
	loads := make(map[int]int)
	for _, a := range as {
		owner, ok := s.Owner(a)
		if !ok {
			t.Fatalf("%s has no owner", a)
		}
		loads[owner]++
	}
	limit := (5*len(as) + 4*candidates - 1) / (4 * candidates) // ceil(1.25 mean)
	for node, load := range loads {
		if load > limit {
			t.Fatalf("%d addresses, %d candidates: node %d owns %d, more than %d", len(as), candidates, node, load, limit)
		}
	}
}

// A node that leaves moves what it owned, and, because of the limit of those that take
// it, a little more: never as much as half its share again, on average over all nodes. A
// node that joins is the same backwards.
func TestSpreadMovesLittle(t *testing.T) {
	for _, tt := range []struct{ nodes, perNode int }{{3, 2}, {3, 10}, {3, 100}, {9, 5}, {9, 20}, {9, 100}, {50, 20}, {100, 5}} {
		t.Run(fmt.Sprintf("%d/%d", tt.nodes, tt.perNode), func(t *testing.T) {
			as := addresses("10.1.0.0", tt.nodes*tt.perNode)
			r := elect.NewRankings(elect.NewNodes(names(tt.nodes)))
			whole := settled(r, as)
			moved, owned := 0, 0
			for gone := range tt.nodes {
				rest := settled(r, as, gone)
				for _, a := range as {
					before, _ := whole.Owner(a)
					after, _ := rest.Owner(a)
					if before == gone {
						owned++
					}
					if before != after {
						moved++
					}
				}
			}
			t.Logf("%d addresses moved, where %d had to: %.2f shares", moved, owned, float64(moved)/float64(owned))
			if 2*moved > 3*owned {
				t.Errorf("%d addresses moved, more than 1.5 times the %d that had to", moved, owned)
			}
		})
	}
}

// A claim prevails over the limit, and counts against it.
func TestSpreadHonoursClaims(t *testing.T) {
	nodes := elect.NewNodes(names(3))
	s := elect.NewSpread(elect.NewRankings(nodes), all(nodes))
	as := addresses("192.0.2.0", 12)
	for i, a := range as {
		terms := elect.Terms{Age: int64(i), Claimant: elect.Nobody}
		if i < 6 {
			terms.Claimant = 1
		}
		s.Put(a, terms)
	}
	s.Settle(func(netip.Addr) {})
	loads := make([]int, 3)
	for i, a := range as {
		owner, _ := s.Owner(a)
		loads[owner]++
		if i < 6 && owner != 1 {
			t.Errorf("%s is claimed by node 1, and owned by %d", a, owner)
		}
	}
	if loads[1] != 6 || max(loads[0], loads[2]) > 5 {
		t.Errorf("loads %v, want node 1 to have what it claims and the limit of 5 to hold for the others", loads)
	}
}

// A ranking that is longer than what is remembered goes on.
func TestRankingsBeyondMemory(t *testing.T) {
	nodes := elect.NewNodes([]lb.NodeName{"a", "b", "c", "d", "e", "f", "g", "h"})
	candidates := all(nodes)
	s := elect.NewSpread(elect.NewRankings(nodes), candidates)
	terms := make(map[netip.Addr]elect.Terms)
	for i, a := range addresses("192.0.2.0", 8) { // a limit of two: somebody stands far back
		terms[a] = elect.Terms{Age: int64(i % 3), Claimant: i % 2}
		s.Put(a, terms[a])
	}
	for i, a := range addresses("198.51.100.0", 6) {
		terms[a] = elect.Terms{Age: int64(i), Claimant: elect.Nobody}
		s.Put(a, terms[a])
	}
	s.Settle(func(netip.Addr) {})
	if diff := gocmp.Diff(matching(nodes, candidates, terms), ownersIn(t, s, terms), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("owners (-fresh +spread):\n%s", diff)
	}
}

func BenchmarkSpread(b *testing.B) {
	for _, n := range []int{3, 100, 5000} {
		as := addresses("10.0.0.0", 100_000)
		r := elect.NewRankings(elect.NewNodes(names(n)))
		s := settled(r, as)
		b.Run(fmt.Sprintf("change/nodes=%d", n), func(b *testing.B) {
			moved := 0
			for i := 0; b.Loop(); i++ {
				a := as[i*7919%len(as)]
				s.Remove(a)
				s.Settle(func(netip.Addr) { moved++ })
				s.Put(a, elect.Terms{Age: int64(i * 7919 % len(as)), Claimant: elect.Nobody})
				s.Settle(func(netip.Addr) { moved++ })
			}
			b.ReportMetric(float64(moved)/float64(b.N), "moved/op")
		})
		b.Run(fmt.Sprintf("death/nodes=%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				settled(r, as, i%n)
			}
		})
	}
}

// Speakers of different releases must agree on who owns what, so these never change. The
// second is of three addresses that all rank bravo first, of which it may have two.
func TestSpreadGoldenVectors(t *testing.T) {
	nodes := elect.NewNodes([]lb.NodeName{"alpha", "bravo", "charlie"})
	for _, tt := range []struct{ first, want string }{
		{"192.0.2.1", "alpha bravo charlie alpha bravo charlie bravo bravo charlie"},
		{"10.0.0.9", "alpha bravo bravo"},
	} {
		s := elect.NewSpread(elect.NewRankings(nodes), all(nodes))
		as := addresses(tt.first, len(strings.Fields(tt.want)))
		for i, a := range as {
			s.Put(a, elect.Terms{Age: int64(-i), Claimant: elect.Nobody}) // the last is the oldest
		}
		s.Settle(func(netip.Addr) {})
		var got []string
		for _, a := range as {
			owner, _ := s.Owner(a)
			got = append(got, string(nodes.Name(owner)))
		}
		if diff := gocmp.Diff(strings.Fields(tt.want), got); diff != "" {
			t.Errorf("owners from %s on (-want +got):\n%s", tt.first, diff)
		}
	}
}
