// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
)

func mustRange(t testing.TB, first, last string) lb.Range {
	t.Helper()
	r, ok := lb.MakeRange(netip.MustParseAddr(first), netip.MustParseAddr(last))
	if !ok {
		t.Fatalf("no range from %s to %s", first, last)
	}
	return r
}

func TestSpaceCapacity(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		first, last string
		avoid       bool
		want        int64
	}{
		{"10.0.0.0", "10.255.255.255", false, 1 << 24},
		{"10.0.0.0", "10.255.255.255", true, 1<<24 - 1<<17},
		{"192.0.2.0", "192.0.2.0", true, 0},
		{"192.0.2.255", "192.0.3.0", true, 0},
		{"192.0.2.254", "192.0.3.1", true, 2},
		{"192.0.2.1", "192.0.2.254", true, 254},
		{"0.0.0.0", "255.255.255.255", true, 1<<32 - 1<<25},
		{"2001:db8::", "2001:db8::ff", true, 256}, // avoidBuggyIPs is about IPv4
		{"2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", false, math.MaxInt64},
	} {
		s := newSpace(tc.avoid)
		s.add(0, mustRange(t, tc.first, tc.last))
		if s.capacity != tc.want {
			t.Errorf("%s-%s, avoiding buggy addresses %v: capacity %d, want %d", tc.first, tc.last, tc.avoid, s.capacity, tc.want)
		}
		if s.spans.Len() > 1 {
			t.Errorf("%s-%s is stored as %d spans, want one at most", tc.first, tc.last, s.spans.Len())
		}
	}
}

func TestSpaceCapacitySaturates(t *testing.T) {
	t.Parallel()
	s := newSpace(false)
	s.add(0, mustRange(t, "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"))
	s.add(1, mustRange(t, "2001:db9::", "2001:db9::ffff:ffff:ffff:ffff"))
	if s.capacity != math.MaxInt64 {
		t.Errorf("capacity %d, want %d", s.capacity, int64(math.MaxInt64))
	}
}

func TestSpaceFollowsTheOrderOfRanges(t *testing.T) {
	t.Parallel()
	s := newSpace(false)
	s.add(0, mustRange(t, "192.0.2.8", "192.0.2.9"))
	s.add(1, mustRange(t, "192.0.2.0", "192.0.2.1"))
	s.add(2, mustRange(t, "192.0.2.2", "192.0.2.2")) // a neighbour, and yet another range
	for _, want := range []string{"192.0.2.8", "192.0.2.9", "192.0.2.0", "192.0.2.1", "192.0.2.2"} {
		p, ok := s.first()
		if !ok || p.addr != netip.MustParseAddr(want) {
			t.Fatalf("first free address %s (%v), want %s", p.addr, ok, want)
		}
		s.take(p)
	}
	if p, ok := s.first(); ok {
		t.Errorf("%s is free in a full space", p.addr)
	}
}

// FuzzSpace holds the intervals against a list of every address.
func FuzzSpace(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 250, 251, 252, 1, 0}, true)
	r := rand.New(rand.NewPCG(1, 2))
	for _, avoid := range []bool{false, true} {
		b := make([]byte, 500)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		f.Add(b, avoid)
	}
	f.Fuzz(func(t *testing.T, toggles []byte, avoid bool) {
		// Two ranges across the boundaries of /24s, the later one in front.
		ranges := []lb.Range{mustRange(t, "10.0.1.200", "10.0.2.40"), mustRange(t, "10.0.0.230", "10.0.1.60")}
		s := newSpace(avoid)
		var order []position
		for i, r := range ranges {
			s.add(i, r)
			for a := r.First(); r.Contains(a); a = a.Next() {
				if !avoid || !isBuggy(a) {
					order = append(order, position{i, a})
				}
			}
		}
		if s.capacity != int64(len(order)) {
			t.Fatalf("capacity %d, want %d", s.capacity, len(order))
		}
		used := map[position]bool{}
		for _, b := range toggles[:min(len(toggles), 100)] {
			p := order[int(b)%len(order)]
			if used[p] {
				s.release(p)
			} else {
				s.take(p)
			}
			used[p] = !used[p]
			compareSpace(t, s, order, used)
		}
	})
}

func compareSpace(t *testing.T, s *space, order []position, used map[position]bool) {
	t.Helper()
	var want position
	found, runs := false, 0
	for i, p := range order {
		if s.free(p) == used[p] {
			t.Fatalf("free(%s) is %v", p.addr, s.free(p))
		}
		if used[p] {
			continue
		}
		if !found {
			want, found = p, true
		}
		if i == 0 || used[order[i-1]] || order[i-1].order != p.order {
			runs++
		}
	}
	if p, ok := s.first(); ok != found || p != want {
		t.Fatalf("first free address %s (%v), want %s (%v)", p.addr, ok, want.addr, found)
	}
	if s.spans.Len() != runs {
		t.Fatalf("%d spans for %d runs of free addresses", s.spans.Len(), runs)
	}
}
