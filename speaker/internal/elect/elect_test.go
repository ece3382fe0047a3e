// SPDX-License-Identifier: Apache-2.0

package elect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// names returns n node names of the kind real clusters have: alike but for a number.
func names(n int) []lb.NodeName {
	ns := make([]lb.NodeName, n)
	for i := range ns {
		ns[i] = lb.NodeName(fmt.Sprintf("worker-%d.example.org", i))
	}
	return ns
}

func all(nodes *elect.Nodes) elect.Set {
	s := nodes.None()
	for i := range nodes.Len() {
		s.Add(i)
	}
	return s
}

// keys returns the keys of n consecutive addresses, the hardest input for a hash.
func keys(first string, n int) []elect.Key {
	ks := make([]elect.Key, n)
	for i, a := 0, netip.MustParseAddr(first); i < n; i, a = i+1, a.Next() {
		ks[i] = elect.KeyOf(a)
	}
	return ks
}

// owners returns the name of each key's owner when all nodes with these names are
// candidates.
func owners(t *testing.T, ks []elect.Key, ns []lb.NodeName) []lb.NodeName {
	t.Helper()
	nodes := elect.NewNodes(ns)
	candidates := all(nodes)
	os := make([]lb.NodeName, len(ks))
	for i, k := range ks {
		owner, ok := nodes.Owner(k, candidates)
		if !ok {
			t.Fatalf("no owner for key %#x among %d candidates", k, nodes.Len())
		}
		os[i] = nodes.Name(owner)
	}
	return os
}

// Speakers of different releases must agree, so these never change.
func TestGoldenVectors(t *testing.T) {
	nodes := elect.NewNodes([]lb.NodeName{"alpha", "bravo", "charlie", "delta", "echo"})
	tests := []struct {
		address string
		key     elect.Key
		ranking []lb.NodeName
	}{
		{"0.0.0.0", 0x3812cfdd8ad063c7, []lb.NodeName{"echo", "delta", "charlie", "bravo", "alpha"}},
		{"192.0.2.1", 0x4bf2e84d15e95c9e, []lb.NodeName{"alpha", "echo", "bravo", "charlie", "delta"}},
		{"192.0.2.2", 0x8b48d047a220b635, []lb.NodeName{"bravo", "alpha", "delta", "charlie", "echo"}},
		{"198.51.100.255", 0xcce6e172832bfe52, []lb.NodeName{"charlie", "echo", "bravo", "delta", "alpha"}},
		{"::", 0xc4a33b91d904948a, []lb.NodeName{"delta", "echo", "bravo", "alpha", "charlie"}},
		{"::ffff:192.0.2.1", 0x16a6b46100d12b5d, []lb.NodeName{"charlie", "delta", "alpha", "echo", "bravo"}},
		{"2001:db8::1", 0xf8636afaee6fb78b, []lb.NodeName{"charlie", "echo", "delta", "bravo", "alpha"}},
		{"fe80::1", 0x4980c1591d7bbcc0, []lb.NodeName{"alpha", "charlie", "echo", "delta", "bravo"}},
	}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			key := elect.KeyOf(netip.MustParseAddr(tt.address))
			if key != tt.key {
				t.Errorf("key = %#x, want %#x", key, tt.key)
			}
			var ranking []lb.NodeName
			for _, i := range nodes.Rank(nil, key, all(nodes), nodes.Len()) {
				ranking = append(ranking, nodes.Name(i))
			}
			if diff := cmp.Diff(tt.ranking, ranking); diff != "" {
				t.Errorf("ranking (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodesAreSortedAndUnique(t *testing.T) {
	in := []lb.NodeName{"c", "a", "b", "a"}
	nodes := elect.NewNodes(in)
	if diff := cmp.Diff([]lb.NodeName{"c", "a", "b", "a"}, in); diff != "" {
		t.Errorf("argument modified (-want +got):\n%s", diff)
	}
	if nodes.Len() != 3 {
		t.Fatalf("Len = %d, want 3", nodes.Len())
	}
	for want, name := range []lb.NodeName{"a", "b", "c"} {
		if i, ok := nodes.Index(name); !ok || i != want || nodes.Name(i) != name {
			t.Errorf("Index(%q) = %d, %t, want %d", name, i, ok, want)
		}
	}
	if _, ok := nodes.Index("d"); ok {
		t.Error("Index found a node that is not there")
	}
}

func TestOwnerOfNobody(t *testing.T) {
	nodes := elect.NewNodes(names(3))
	if i, ok := nodes.Owner(1, nodes.None()); ok {
		t.Errorf("Owner without candidates = %d, want none", i)
	}
	if i, ok := elect.NewNodes(nil).Owner(1, nil); ok {
		t.Errorf("Owner without nodes = %d, want none", i)
	}
	if got := nodes.Rank(nil, 1, all(nodes), 0); got != nil {
		t.Errorf("Rank of none = %v, want nothing", got)
	}
}

func TestOwnerIgnoresOrderOfNames(t *testing.T) {
	ks := keys("192.0.2.0", 256)
	ns := names(50)
	want := owners(t, ks, ns)
	rand.Shuffle(len(ns), func(i, j int) { ns[i], ns[j] = ns[j], ns[i] })
	if diff := cmp.Diff(want, owners(t, ks, ns)); diff != "" {
		t.Errorf("owners depend on the order of names (-want +got):\n%s", diff)
	}
}

// A joining node takes addresses, and nothing else moves.
func TestJoinMovesOnlyToTheNewNode(t *testing.T) {
	ks := keys("2001:db8::", 10_000)
	for _, n := range []int{1, 2, 3, 9, 100} {
		ns := names(n + 1)
		newcomer := ns[n]
		before, after := owners(t, ks, ns[:n]), owners(t, ks, ns)
		moved := 0
		for i := range ks {
			if before[i] == after[i] {
				continue
			}
			moved++
			if after[i] != newcomer {
				t.Fatalf("%d nodes: key %d moved from %s to %s, not to the new node", n, i, before[i], after[i])
			}
		}
		// Binomial with p = 1/(n+1): five standard deviations.
		p := 1 / float64(n+1)
		share, slack := p*float64(len(ks)), 5*math.Sqrt(p*(1-p)*float64(len(ks)))
		if d := math.Abs(float64(moved) - share); d > slack {
			t.Errorf("%d nodes: %d keys moved to the new one, want %.0f +- %.0f", n, moved, share, slack)
		}
	}
}

// A leaving node's addresses go to the runner-up of each, and nothing else moves.
func TestLeaveMovesOnlyItsOwn(t *testing.T) {
	ks := keys("198.51.100.0", 2000)
	nodes := elect.NewNodes(names(9))
	for gone := range nodes.Len() {
		rest := all(nodes)
		rest.Remove(gone)
		for _, k := range ks {
			ranking := nodes.Rank(nil, k, all(nodes), 2)
			want := ranking[0]
			if want == gone {
				want = ranking[1]
			}
			if got, _ := nodes.Owner(k, rest); got != want {
				t.Fatalf("without node %d key %#x moved to %d, want %d", gone, k, got, want)
			}
		}
	}
}

func TestRankIsRepeatedElection(t *testing.T) {
	nodes := elect.NewNodes(names(130)) // three words of a Set
	for _, k := range keys("203.0.113.0", 100) {
		rest := all(nodes)
		for i := 0; i < nodes.Len(); i += 3 {
			rest.Remove(i)
		}
		for _, k2 := range []int{1, 3, rest.Len() + 1} {
			got := nodes.Rank([]int{-1}, k, rest, k2)
			if got[0] != -1 {
				t.Fatal("Rank overwrote what dst had")
			}
			if diff := cmp.Diff(rankByOwner(nodes, k, rest, k2), got[1:]); diff != "" {
				t.Fatalf("ranking of %d (-repeated elections +Rank):\n%s", k2, diff)
			}
		}
	}
}

func rankByOwner(nodes *elect.Nodes, key elect.Key, candidates elect.Set, k int) []int {
	rest := slices.Clone(candidates)
	var ranking []int
	for len(ranking) < k {
		owner, ok := nodes.Owner(key, rest)
		if !ok {
			break
		}
		ranking = append(ranking, owner)
		rest.Remove(owner)
	}
	return ranking
}

// Ownership must look random: chi-square over the owners of consecutive addresses.
func TestSpread(t *testing.T) {
	tests := []struct {
		first string
		keys  int
		nodes int
	}{
		{"10.0.0.0", 30_000, 3},
		{"10.0.0.0", 30_000, 9},
		{"10.0.0.0", 100_000, 100},
		{"10.0.0.0", 100_000, 1000},
		{"2001:db8::", 30_000, 3},
		{"2001:db8:0:1::ffff:0", 100_000, 100},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%d", tt.first, tt.nodes), func(t *testing.T) {
			counts := make(map[lb.NodeName]float64)
			for _, owner := range owners(t, keys(tt.first, tt.keys), names(tt.nodes)) {
				counts[owner]++
			}
			mean := float64(tt.keys) / float64(tt.nodes)
			chi2 := 0.0
			for _, name := range names(tt.nodes) {
				d := counts[name] - mean
				chi2 += d * d / mean
			}
			// A chi-square has mean f and variance 2f; five standard deviations on
			// either side, because too even would not be random either.
			f := float64(tt.nodes - 1)
			if slack := 5 * math.Sqrt(2*f); math.Abs(chi2-f) > max(slack, f) {
				t.Errorf("chi-square = %.0f, want %.0f +- %.0f", chi2, f, slack)
			}
		})
	}
}

// The runner-up must be as random as the owner, or a dead node's load lands on one.
func TestSpreadOfRunnersUp(t *testing.T) {
	nodes := elect.NewNodes(names(10))
	counts := make([]float64, nodes.Len())
	total := 0.0
	for _, k := range keys("10.0.0.0", 50_000) {
		if r := nodes.Rank(nil, k, all(nodes), 2); r[0] == 4 {
			counts[r[1]]++
			total++
		}
	}
	mean := total / 9
	for i, c := range counts {
		if i != 4 && math.Abs(c-mean) > 5*math.Sqrt(mean) {
			t.Errorf("node %d is next in line for %.0f of node 4's addresses, want %.0f +- %.0f", i, c, mean, 5*math.Sqrt(mean))
		}
	}
}

func TestElectionsDoNotAllocate(t *testing.T) {
	nodes := elect.NewNodes(names(200))
	candidates := all(nodes)
	dst := make([]int, 0, 3)
	a := netip.MustParseAddr("192.0.2.1")
	allocs := testing.AllocsPerRun(100, func() {
		key := elect.KeyOf(a)
		nodes.Owner(key, candidates)
		dst = nodes.Rank(dst[:0], key, candidates, 3)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per election, want none", allocs)
	}
}

func TestSet(t *testing.T) {
	nodes := elect.NewNodes(names(130))
	a, b := nodes.None(), nodes.None()
	for _, i := range []int{0, 63, 64, 129} {
		a.Add(i)
	}
	b.Add(64)
	b.Add(65)
	if a.Len() != 4 || a.Empty() || !nodes.None().Empty() {
		t.Errorf("Len = %d, Empty = %t", a.Len(), a.Empty())
	}
	if !a.Has(63) || a.Has(62) || a.Has(500) || elect.Set(nil).Has(0) {
		t.Error("Has is wrong")
	}
	if !a.Overlaps(b) {
		t.Error("sets with 64 in common do not overlap")
	}
	union := slices.Clone(a)
	union.Union(b)
	if diff := cmp.Diff([]int{0, 63, 64, 65, 129}, slices.Collect(union.All())); diff != "" {
		t.Errorf("union (-want +got):\n%s", diff)
	}
	a.Intersect(b)
	if diff := cmp.Diff([]int{64}, slices.Collect(a.All())); diff != "" {
		t.Errorf("intersection (-want +got):\n%s", diff)
	}
	a.Remove(64)
	if a.Overlaps(b) || !a.Empty() {
		t.Error("64 was not removed")
	}
	for i := range union.All() {
		if i == 63 {
			break // All must stop when its consumer does
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{3, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			nodes := elect.NewNodes(names(n))
			candidates := all(nodes)
			key := elect.Key(0)
			b.ReportAllocs()
			for b.Loop() {
				key++
				nodes.Owner(key, candidates)
			}
		})
	}
}

func BenchmarkRank3(b *testing.B) {
	nodes := elect.NewNodes(names(1000))
	candidates := all(nodes)
	dst := make([]int, 0, 3)
	key := elect.Key(0)
	b.ReportAllocs()
	for b.Loop() {
		key++
		dst = nodes.Rank(dst[:0], key, candidates, 3)
	}
}
