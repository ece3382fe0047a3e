// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"
	"slices"
)

// territory knows which pool has which addresses: whoever claims an address first
// keeps it. The zero value is empty.
type territory struct {
	// holdings are disjoint and ascend, IPv4 before IPv6.
	holdings []holding
}

// holding is a range that the entry of a pool with that index has.
type holding struct {
	Range
	pool  string
	entry int
}

// claim gives claim.pool the part of claim.Range that nobody has. It returns that part,
// and the parts that others have with those who have them; both ascend.
func (t *territory) claim(claim holding) (free []Range, taken []holding) {
	from, to := t.overlapping(claim.Range)
	merged := make([]holding, 0, 2*(to-from)+1)
	take := func(first, last netip.Addr) {
		if r, ok := MakeRange(first, last); ok {
			free = append(free, r)
			merged = append(merged, holding{r, claim.pool, claim.entry})
		}
	}
	next := claim.first
	for _, h := range t.holdings[from:to] {
		if next.Less(h.first) {
			take(next, h.first.Prev())
		}
		taken = append(taken, holding{intersection(h.Range, claim.Range), h.pool, h.entry})
		merged = append(merged, h)
		// After the highest address of a family there is none: next is then invalid, and
		// so is the last range taken.
		next = h.last.Next()
	}
	take(next, claim.last)
	t.holdings = slices.Replace(t.holdings, from, to, merged...)
	return free, taken
}

// overlapping returns the bounds of those holdings that have an address in r.
func (t *territory) overlapping(r Range) (from, to int) {
	from, _ = slices.BinarySearchFunc(t.holdings, r.first, func(h holding, a netip.Addr) int {
		if h.last.Less(a) {
			return -1
		}
		return 1
	})
	to = from
	for to < len(t.holdings) && !r.last.Less(t.holdings[to].first) {
		to++
	}
	return from, to
}

// intersection returns the addresses that a and b have in common. They must overlap.
func intersection(a, b Range) Range {
	if a.first.Less(b.first) {
		a.first = b.first
	}
	if b.last.Less(a.last) {
		a.last = b.last
	}
	return a
}
