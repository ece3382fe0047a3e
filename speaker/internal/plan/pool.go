// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// poolIndex finds the advertisements that cover the pool of an address.
type poolIndex struct {
	finder lb.PoolFinder
	// pools are in the order of the Config.
	pools []pool
}

// pool is the list of advertisements that cover a pool, as ascending indexes.
type pool struct{ advertisements []int }

func newPoolIndex(c *lb.Config) poolIndex {
	x := poolIndex{finder: lb.NewPoolFinder(c.Pools), pools: make([]pool, len(c.Pools))}
	for i := range c.Pools {
		x.pools[i] = pool{advertisementsOf(c, c.Pools[i].Name)}
	}
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

// of returns the pool of an address that a Service holds.
func (x *poolIndex) of(a netip.Addr, allocatedFrom string) (pool, bool) {
	i, _, ok := x.finder.Find(a, allocatedFrom)
	if !ok {
		return pool{}, false
	}
	return x.pools[i], true
}
