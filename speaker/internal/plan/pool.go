// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// poolIndex finds the advertisements of a pool, and the pool of an address.
type poolIndex struct {
	// spans are the ranges of all pools in ascending order. Parse makes ranges
	// disjoint, so that the last one that starts at or before an address is the only
	// one that can contain it.
	spans []span
	// broken are the pools whose objects are invalid, by name.
	broken map[string]pool
}

type span struct {
	lb.Range
	pool pool
}

// pool is the list of advertisements that cover a pool, as ascending indexes.
type pool struct{ advertisements []int }

func newPoolIndex(c *lb.Config) poolIndex {
	x := poolIndex{broken: make(map[string]pool)}
	for i := range c.Pools {
		p := pool{advertisementsOf(c, c.Pools[i].Name)}
		if c.Pools[i].Broken {
			x.broken[c.Pools[i].Name] = p
		}
		for _, r := range c.Pools[i].Ranges {
			x.spans = append(x.spans, span{r, p})
		}
	}
	slices.SortFunc(x.spans, func(a, b span) int { return a.First().Compare(b.First()) })
	return x
}

func advertisementsOf(c *lb.Config, name string) []int {
	var indexes []int
	for i := range c.L2Advertisements {
		if _, ok := c.L2Advertisements[i].Pools[name]; ok {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// of returns the pool of an address that a Service holds. A broken pool has no
// ranges; what was allocated from it is recognised by the allocation's record on the
// Service, so that a typo in a pool does not silence the addresses it gave.
func (x *poolIndex) of(a netip.Addr, allocatedFrom string) (pool, bool) {
	i, found := slices.BinarySearchFunc(x.spans, a, func(s span, a netip.Addr) int { return s.First().Compare(a) })
	if !found {
		i--
	}
	if i >= 0 && x.spans[i].Contains(a) {
		return x.spans[i].pool, true
	}
	p, ok := x.broken[allocatedFrom]
	return p, ok
}
