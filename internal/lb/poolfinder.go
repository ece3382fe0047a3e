// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"
	"slices"
)

// PoolFinder finds the pool of an address that a Service holds. Make one with
// NewPoolFinder. It is immutable.
type PoolFinder struct {
	// spans are the ranges of all pools in ascending order. They are disjoint, so that
	// the last one that starts at or before an address is the only one that can
	// contain it.
	spans []poolSpan
	// broken are the pools whose objects are invalid, by name.
	broken map[string]int
}

type poolSpan struct {
	Range
	pool int
}

// NewPoolFinder returns a finder for the pools of a Config.
func NewPoolFinder(pools []Pool) PoolFinder {
	f := PoolFinder{broken: make(map[string]int)}
	for i := range pools {
		if pools[i].Broken {
			f.broken[pools[i].Name] = i
		}
		for _, r := range pools[i].Ranges {
			f.spans = append(f.spans, poolSpan{r, i})
		}
	}
	slices.SortFunc(f.spans, func(a, b poolSpan) int { return a.first.Compare(b.first) })
	return f
}

// Find returns the index of the address's pool, and the range in it that has the
// address. A broken pool has no ranges; what was allocated from it is recognised by the
// allocation's record on the Service, and entry is then the zero value: so a typo in a
// pool does not silence the addresses it gave.
func (f *PoolFinder) Find(a netip.Addr, allocatedFrom string) (pool int, entry Range, ok bool) {
	i, found := slices.BinarySearchFunc(f.spans, a, func(s poolSpan, a netip.Addr) int { return s.first.Compare(a) })
	if !found {
		i--
	}
	if i >= 0 && f.spans[i].Contains(a) {
		return f.spans[i].pool, f.spans[i].Range, true
	}
	pool, ok = f.broken[allocatedFrom]
	return pool, Range{}, ok
}
