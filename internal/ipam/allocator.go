// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Allocator knows the pools, what every Service claims and what it was given. The
// zero value is not usable; New returns one. It is not safe for concurrent use.
type Allocator struct {
	atlas     *atlas
	claimants map[lb.ServiceName]*claimant
	tenancies map[netip.Addr]*tenancy
	waiting   *waiting
	bookings  *bookings
}

// New returns an Allocator without pools.
func New() *Allocator {
	return &Allocator{
		atlas:     newAtlas(nil),
		claimants: map[lb.ServiceName]*claimant{},
		tenancies: map[netip.Addr]*tenancy{},
		waiting:   newWaiting(),
		bookings:  newBookings(),
	}
}

// Adopt takes over the addresses that the Service was found with, as far as it may
// have them, whatever it claims now: that is for Assign to look at. Call it when
// starting, for the oldest Service first and before the first Assign. The pools
// and the reservations must be set. The outcome's Previous are the addresses found; its Reason has no
// meaning yet.
func (a *Allocator) Adopt(claim Claim) Outcome {
	c := a.claimant(claim)
	st := newStep(a, c)
	if claim.Foreign {
		st.settle(c)
		return st.outcome(c)
	}
	for _, addr := range claim.Service.Addresses {
		g, ok := a.home(addr, claim.Service.PoolOf(addr))
		if !ok {
			c.shrunk = true
			st.blame(c, a.atlas.absence(addr))
			continue
		}
		if r := a.objection(c, g); r != nil {
			st.blame(c, r.message)
			continue
		}
		if !c.holds(addr) {
			a.occupy(c, g)
			c.grants = append(slices.Clone(c.grants), g)
		}
	}
	c.shrunk = c.shrunk && len(c.grants) > 0
	o := st.outcome(c)
	o.Previous, o.Cause = claim.Service.Addresses, st.changes[c].cause
	return o
}

// Assign makes the claim the Service's current one. The first outcome is the
// Service's own; the others are those of Services that had been waiting for what
// it gave up.
func (a *Allocator) Assign(claim Claim) []Outcome {
	c := a.claimant(claim)
	st := newStep(a, c)
	st.settle(c)
	st.serveWaiting()
	return st.outcomes()
}

// Release forgets the Service. The outcomes are those of Services that had been
// waiting for what it had; the Service's own is not among them. Releasing an
// unknown Service changes nothing.
func (a *Allocator) Release(name lb.ServiceName) []Outcome {
	c, ok := a.claimants[name]
	if !ok {
		return nil
	}
	delete(a.claimants, name)
	a.waiting.remove(c)
	st := newStep(a, nil)
	for _, g := range c.grants {
		st.vacate(c, g)
	}
	c.grants = nil
	st.serveWaiting()
	return st.outcomes()
}

// SetPools replaces all pools, which must be disjoint. Addresses that still lie in
// a pool that admits their Service stay, as do those of pools that are Broken now.
// The outcomes are those of Services that had to move or lost an address, and of
// those for which the new pools make a difference.
func (a *Allocator) SetPools(pools []lb.Pool) []Outcome {
	a.atlas = newAtlas(pools)
	a.tenancies = make(map[netip.Addr]*tenancy, len(a.tenancies))
	a.waiting = newWaiting()
	a.bookings.relocate(a.atlas)

	st := newStep(a, nil)
	var foreign, evicted, others []*claimant
	for _, c := range a.claimants {
		st.remember(c)
		lost := a.rehome(c, st)
		switch {
		case c.claim.Foreign:
			foreign = append(foreign, c)
		case lost:
			evicted = append(evicted, c)
		case c.unmet() || !c.satisfiedBy(c.grants) || brokenPoolOf(c.grants) != nil:
			others = append(others, c)
		}
		c.verdict, c.lacking, c.waits = nil, "", wait{}
	}
	for _, c := range a.claimants {
		for _, g := range c.grants {
			a.occupy(c, g)
		}
	}
	// What others have given is not ours to give. Of those who are, the ones who lost an
	// address come first: their clients are waiting already.
	for _, group := range [][]*claimant{foreign, evicted, others} {
		slices.SortFunc(group, byAge)
	}
	for _, c := range slices.Concat(foreign, evicted, others) {
		st.settle(c)
	}
	st.serveWaiting()
	slices.SortFunc(st.order, byAge)
	return st.outcomes()
}

// rehome gives the grants of c their places in the new pools. It reports whether
// one was lost. The tenancies are not touched.
func (a *Allocator) rehome(c *claimant, st *step) (lost bool) {
	kept := make([]grant, 0, len(c.grants))
	for _, g := range c.grants {
		next, ok := a.home(g.addr, g.pool.Name)
		if ok && (next.pool.Broken || c.claim.Foreign || next.pool.admits(c)) {
			kept = append(kept, next)
			continue
		}
		lost = true
		if ok {
			st.blame(c, notAdmitted(next.pool, c))
		} else {
			st.blame(c, a.atlas.absence(g.addr))
		}
	}
	c.shrunk = c.shrunk || lost && len(kept) > 0
	c.grants = kept
	return lost
}

// home returns the place of an address that was given from the pool named: in the
// pool that contains it now, or else in that pool itself if it is Broken.
func (a *Allocator) home(addr netip.Addr, from string) (grant, bool) {
	if g, ok := a.atlas.find(addr); ok {
		return g, true
	}
	if p, ok := a.atlas.byName[from]; ok && p.Broken {
		return grant{addr, p, 0}, true
	}
	return grant{}, false
}

// Held returns the addresses that the Service has, in the order of its status.
func (a *Allocator) Held(name lb.ServiceName) []netip.Addr {
	if c, ok := a.claimants[name]; ok {
		return c.addresses()
	}
	return nil
}

// Usages returns the counters of all pools, in the order of the pools.
func (a *Allocator) Usages() []Usage {
	usages := make([]Usage, len(a.atlas.pools))
	for i, p := range a.atlas.pools {
		usages[i] = p.usage()
	}
	return usages
}

// Waiting returns how many Services have not all that they claim.
func (a *Allocator) Waiting() int { return a.waiting.count }

func (a *Allocator) claimant(claim Claim) *claimant {
	c, ok := a.claimants[claim.Service.Name]
	if !ok {
		c = &claimant{claim: claim}
		a.claimants[claim.Service.Name] = c
		return c
	}
	// The indexes are sorted by age, which the new claim may change.
	a.waiting.remove(c)
	recreated := !claim.Service.Created.Equal(c.claim.Service.Created)
	c.claim = claim
	if recreated {
		for _, g := range c.grants {
			slices.SortFunc(a.tenancies[g.addr].holders, byAge)
		}
	}
	return c
}

// occupy records that c has the address of g. It does not touch c.grants.
func (a *Allocator) occupy(c *claimant, g grant) {
	t, ok := a.tenancies[g.addr]
	if !ok {
		t = &tenancy{grant: g}
		a.tenancies[g.addr] = t
		t.stock().assigned++
		if b, ok := a.bookings.byAddr[g.addr]; ok && b.withheld {
			b.withheld = false
			t.stock().reserved--
		} else if !g.pool.Broken {
			t.stock().take(g.position())
		}
	}
	i, _ := slices.BinarySearchFunc(t.holders, c, byAge)
	t.holders = slices.Insert(t.holders, i, c)
	t.closed = a.bookings.closed(g.addr, t.holders)
	t.regroup()
	a.bookings.stir(g.addr, c.name())
}

// vacate records that c has the address of g no longer. It reports whether anybody may
// have it now.
func (a *Allocator) vacate(c *claimant, g grant) (free bool) {
	t := a.tenancies[g.addr]
	t.holders = slices.DeleteFunc(t.holders, func(h *claimant) bool { return h == c })
	t.closed = a.bookings.closed(g.addr, t.holders)
	t.regroup()
	a.bookings.stir(g.addr, c.name())
	if len(t.holders) > 0 {
		return false
	}
	delete(a.tenancies, g.addr)
	t.stock().assigned--
	if b, ok := a.bookings.byAddr[g.addr]; ok && len(b.owners) > 0 {
		b.withheld = true
		t.stock().reserved++
		return false
	}
	if !g.pool.Broken {
		t.stock().release(g.position())
	}
	return true
}

// objection returns why c may not have the address of g, whatever it claims.
func (a *Allocator) objection(c *claimant, g grant) *refusal {
	if !g.pool.Broken && !g.pool.admits(c) {
		return &refusal{lb.ReasonNotAllowed, notAdmitted(g.pool, c)}
	}
	if t, ok := a.tenancies[g.addr]; ok {
		return t.conflict(c)
	}
	return nil
}

// notAdmitted names the rule by which p keeps c out.
func notAdmitted(p *pool, c *claimant) string {
	s := c.claim.Service
	return fmt.Sprintf("serviceAllocation of pool %s does not select this Service: %s",
		p.Name, p.Exclusion(s.Name.Namespace, c.claim.NamespaceLabels, s.Labels))
}

// Holders returns the Services that have an address, the oldest first.
func (a *Allocator) Holders(addr netip.Addr) []lb.ServiceName {
	t, ok := a.tenancies[addr]
	if !ok {
		return nil
	}
	names := make([]lb.ServiceName, len(t.holders))
	for i, h := range t.holders {
		names[i] = h.name()
	}
	return names
}
