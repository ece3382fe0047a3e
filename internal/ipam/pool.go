// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sort"

	"github.com/herald-lb/herald/internal/lb"
)

// pool is a configured pool with its free space.
type pool struct {
	lb.Pool
	v4, v6 stock
}

// stock is what a pool has of one family.
type stock struct {
	*space
	// assigned is the number of addresses that are in use.
	assigned int64
	// reserved is the number of addresses that nobody has and that are kept for a
	// Service.
	reserved int64
	// shared are the addresses in use that others may join, by sharing key.
	shared map[string]shareGroups
}

func newPool(p lb.Pool) *pool {
	n := &pool{Pool: p}
	n.v4.space, n.v6.space = newSpace(p.AvoidBuggyIPs), newSpace(p.AvoidBuggyIPs)
	for order, r := range p.Ranges {
		n.stock(r.Family()).add(order, r)
	}
	return n
}

func (p *pool) stock(f lb.Family) *stock {
	if f == lb.IPv4 {
		return &p.v4
	}
	return &p.v6
}

// has reports whether the pool has addresses of f, free or not.
func (p *pool) has(f lb.Family) bool { return p.stock(f).capacity > 0 }

func (p *pool) admits(c *claimant) bool {
	s := c.claim.Service
	return p.Admits(s.Name.Namespace, c.claim.NamespaceLabels, s.Labels)
}

// Usage is how much of a pool is in use.
type Usage struct {
	Pool string
	// AssignedIPv4 and AssignedIPv6 count the addresses that Services have; one
	// that several share counts once.
	AssignedIPv4, AssignedIPv6 int64
	// AvailableIPv4 and AvailableIPv6 count the addresses that are free, without
	// those that avoidBuggyIPs excludes. math.MaxInt64 stands for that many or more.
	AvailableIPv4, AvailableIPv6 int64
	// ReservedIPv4 and ReservedIPv6 count the addresses that nobody has and that are
	// kept for a Service. They are not free.
	ReservedIPv4, ReservedIPv6 int64
}

func (p *pool) usage() Usage {
	return Usage{
		Pool:          p.Name,
		AssignedIPv4:  p.v4.assigned,
		AssignedIPv6:  p.v6.assigned,
		AvailableIPv4: p.v4.available(),
		AvailableIPv6: p.v6.available(),
		ReservedIPv4:  p.v4.reserved,
		ReservedIPv6:  p.v6.reserved,
	}
}

func (s *stock) available() int64 {
	if s.capacity == math.MaxInt64 {
		return math.MaxInt64
	}
	// A broken pool has no capacity, but addresses may still be assigned.
	return max(0, s.capacity-s.assigned-s.reserved)
}

// atlas finds the pool of an address.
type atlas struct {
	pools  []*pool
	byName map[string]*pool
	// charts are the ranges of all pools, sorted. They are disjoint.
	charts []chart
}

type chart struct {
	lb.Range
	pool  *pool
	order int
}

func newAtlas(pools []lb.Pool) *atlas {
	a := &atlas{byName: make(map[string]*pool, len(pools))}
	for _, p := range pools {
		n := newPool(p)
		a.pools = append(a.pools, n)
		a.byName[p.Name] = n
		for order, r := range p.Ranges {
			a.charts = append(a.charts, chart{r, n, order})
		}
	}
	slices.SortFunc(a.charts, func(x, y chart) int { return x.First().Compare(y.First()) })
	return a
}

// find returns the place of addr in the pool that contains it and may give it.
func (a *atlas) find(addr netip.Addr) (grant, bool) {
	c, ok := a.chart(addr)
	if !ok || !c.pool.v4.usable(addr) {
		return grant{}, false
	}
	return grant{addr, c.pool, c.order}, true
}

// chart returns the range that contains addr.
func (a *atlas) chart(addr netip.Addr) (chart, bool) {
	i := sort.Search(len(a.charts), func(i int) bool { return addr.Less(a.charts[i].First()) })
	if i == 0 || !a.charts[i-1].Contains(addr) {
		return chart{}, false
	}
	return a.charts[i-1], true
}

// absence says why addr, which find does not find, has no place.
func (a *atlas) absence(addr netip.Addr) string {
	if c, ok := a.chart(addr); ok {
		return fmt.Sprintf("pool %s has %s, but does not give it, because avoidBuggyIPs is set", c.pool.Name, addr)
	}
	return fmt.Sprintf("no pool contains %s%s", addr, a.broken())
}

// broken names the pools that are, for messages about what is missing. Empty: none is.
func (a *atlas) broken() string {
	var names []string
	for _, p := range a.pools {
		if p.Broken {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; invalid, and so left out: IPAddressPool " + listFirst(names) + ", see the condition Accepted"
}

// usable reports whether there is a pool that could give anything at all.
func (a *atlas) usable() bool {
	return slices.ContainsFunc(a.pools, func(p *pool) bool { return p.has(lb.IPv4) || p.has(lb.IPv6) })
}
