// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/lb"
)

// decision is what a claimant shall hold, and why not something better.
type decision struct {
	grants  []grant
	verdict *refusal
	lacking string
	waits   wait
	// cause says why something that the claimant holds is not in grants.
	cause string
}

// decide returns what c shall hold. It changes nothing.
func (a *Allocator) decide(c *claimant) decision {
	if c.claim.Foreign {
		return a.recognize(c)
	}
	kept, cause := a.tenable(c)
	d := decision{grants: kept, cause: cause}
	if d.verdict = c.defect(); d.verdict != nil {
		return d
	}
	if part := c.fromNamedPool(kept); len(part) == 1 && len(kept) == 2 && !c.requiresBoth() {
		kept, d.grants, d.cause = part, part, firstOf(cause, c.wish())
	}
	if c.satisfiedBy(kept) {
		a.complete(c, &d)
		return d
	}
	granted, refused, waits := a.seek(c, kept)
	switch {
	case refused == nil:
		d.grants = granted
		d.cause = firstOf(cause, c.wish())
		a.complete(c, &d)
	case c.requiresBoth() && len(kept) < 2:
		d.grants, d.verdict, d.waits = nil, refused, waits
		d.cause = firstOf(cause, "ipFamilyPolicy RequireDualStack needs an address of both families")
	case c.shrunk && c.conforms(kept):
		// There is no better place: what is left is as good as a fresh address.
		a.complete(c, &d)
	default:
		d.verdict, d.waits = refused, waits
	}
	if d.verdict != nil {
		d.waits = a.besides(c, d.waits)
	}
	return d
}

// tenable returns what c holds and may go on holding, and why not the rest.
func (a *Allocator) tenable(c *claimant) (kept []grant, cause string) {
	defective := c.defect() != nil
	for _, g := range c.grants {
		if r := a.objection(c, g); r != nil {
			cause = firstOf(cause, r.message)
			continue
		}
		if f := lb.FamilyOf(g.addr); !defective && !slices.Contains(c.families(), f) {
			cause = firstOf(cause, fmt.Sprintf("the Service has no use for an %s address", f))
			continue
		}
		kept = append(kept, g)
	}
	return kept, cause
}

// fromNamedPool returns those of the addresses that are from a pool that c asks
// for: a pool edit may have parted a pair.
func (c *claimant) fromNamedPool(kept []grant) []grant {
	name := c.claim.Service.Pool
	if name == "" || !slices.ContainsFunc(kept, func(g grant) bool { return g.pool.Name != name }) {
		return kept
	}
	return slices.DeleteFunc(slices.Clone(kept), func(g grant) bool { return g.pool.Name != name })
}

// conforms reports whether the addresses are among those that c asks for.
func (c *claimant) conforms(kept []grant) bool {
	requested := c.claim.Service.Requested
	return len(kept) > 0 && len(c.fromNamedPool(kept)) == len(kept) &&
		(len(requested) == 0 || sameAddresses(kept, requested))
}

// satisfiedBy reports whether c needs no other addresses than these.
func (c *claimant) satisfiedBy(kept []grant) bool {
	switch {
	case !c.conforms(kept):
		return false
	case c.requiresBoth():
		return len(kept) == 2
	case c.prefersBoth() && len(c.claim.Service.Requested) == 0:
		return len(kept) == 2 || !c.shrunk
	}
	return true
}

// complete adds the second address that c prefers to have, from the pool of the
// first, or says why it is lacking.
func (a *Allocator) complete(c *claimant, d *decision) {
	if p := brokenPoolOf(d.grants); p != nil {
		d.verdict = &refusal{lb.ReasonPoolBroken, fmt.Sprintf("pool %s is invalid; the address stays until it is deleted", p.Name)}
		return
	}
	if !c.prefersBoth() || len(d.grants) != 1 || len(c.claim.Service.Requested) > 0 {
		return
	}
	pair, groups := a.join(c, d.grants[0])
	if pair != nil {
		d.grants = pair
		return
	}
	f := otherFamily(lb.FamilyOf(d.grants[0].addr))
	d.lacking = c.noSecond(groups, f)
	d.waits = a.besides(c, poolWait(c, groups, []lb.Family{f}))
}

// join adds to an address one of the other family: from the same pool or, where c agrees
// to that, one that is reserved for it, or from the first pool that has one. Nil: there
// is none in these pools.
func (a *Allocator) join(c *claimant, first grant) (pair []grant, groups [][]*pool) {
	groups = [][]*pool{{first.pool}}
	if c.mixes() {
		for _, g := range a.reservedFor(c) {
			if lb.FamilyOf(g.addr) != lb.FamilyOf(first.addr) {
				return []grant{first, g}, groups
			}
		}
		eligible, _ := a.eligible(c) // if there are none, there is the first pool
		groups = append(groups, eligible...)
	}
	if g, ok := a.firstOfFamily(c, groups, otherFamily(lb.FamilyOf(first.addr))); ok {
		return []grant{first, g}, groups
	}
	return nil, groups
}

// firstOfFamily takes an address of the family from the first pool that has one.
func (a *Allocator) firstOfFamily(c *claimant, groups [][]*pool, f lb.Family) (grant, bool) {
	for _, group := range groups {
		for _, p := range group {
			if g, ok := a.assignable(c, p, f); ok {
				return g, true
			}
		}
	}
	return grant{}, false
}

// seek finds the addresses that c claims. kept is what it may stay with: of two
// families, the one that is there need not change.
func (a *Allocator) seek(c *claimant, kept []grant) ([]grant, *refusal, wait) {
	s := c.claim.Service
	if len(s.Requested) > 0 {
		return a.requested(c)
	}
	if part := c.fromNamedPool(kept); len(part) == 1 && len(c.families()) == 2 {
		if pair, _ := a.join(c, part[0]); pair != nil {
			return pair, nil, wait{}
		}
	}
	pairOnly := c.requiresBoth() || c.shrunk && c.conforms(kept)
	if back := a.reclaim(c, pairOnly); back != nil {
		return back, nil, wait{}
	}
	groups, refused := a.eligible(c)
	if refused != nil {
		return nil, refused, wait{}
	}
	if granted := a.fromGroups(c, groups, pairOnly); granted != nil {
		return granted, nil, wait{}
	}
	return nil, c.noneFree(slices.Concat(groups...)), poolWait(c, groups, c.families())
}

// fromGroups takes the addresses from the first group that has them: both families where
// two are wanted, and then, unless they must be a pair, one of them. Who agrees to two
// pools is given one address only if there are not two in all groups together.
func (a *Allocator) fromGroups(c *claimant, groups [][]*pool, pairOnly bool) []grant {
	single := func(group []*pool) []grant {
		for _, f := range c.families() {
			if g, ok := a.firstOfFamily(c, [][]*pool{group}, f); ok && !pairOnly {
				return []grant{g}
			}
		}
		return nil
	}
	for _, group := range groups {
		if granted := a.pairOf(c, group); granted != nil {
			return granted
		}
		if granted := single(group); granted != nil && !c.mixes() {
			return granted
		}
	}
	if !c.mixes() {
		return nil
	}
	v4, ok4 := a.firstOfFamily(c, groups, lb.IPv4)
	v6, ok6 := a.firstOfFamily(c, groups, lb.IPv6)
	if ok4 && ok6 {
		return []grant{v4, v6}
	}
	for _, group := range groups {
		if granted := single(group); granted != nil {
			return granted
		}
	}
	return nil
}

// pairOf takes both addresses of a dual-stack claim from the first pool that has them.
func (a *Allocator) pairOf(c *claimant, pools []*pool) []grant {
	if len(c.families()) < 2 {
		return nil
	}
	for _, p := range pools {
		v4, ok4 := a.assignable(c, p, lb.IPv4)
		v6, ok6 := a.assignable(c, p, lb.IPv6)
		if ok4 && ok6 {
			return []grant{v4, v6}
		}
	}
	return nil
}

// assignable returns the first address of the family in the pool that c may have: one
// that is reserved for it, a free one, or one that it may share.
func (a *Allocator) assignable(c *claimant, p *pool, f lb.Family) (grant, bool) {
	if g, ok := a.reservedIn(c, p, f); ok {
		return g, true
	}
	s := p.stock(f)
	first, ok := s.first()
	if c.claim.Service.SharingKey != "" {
		if joint, also := s.joinable(c); also && (!ok || joint.less(first)) {
			first, ok = joint, true
		}
	}
	return grant{first.addr, p, first.order}, ok
}

// eligible returns the pools that may serve a claim without requested addresses,
// in groups: one is tried only if none before it could serve.
func (a *Allocator) eligible(c *claimant) ([][]*pool, *refusal) {
	if c.claim.Service.Pool != "" {
		p, refused := a.named(c)
		if refused != nil {
			return nil, refused
		}
		return [][]*pool{{p}}, nil
	}
	var pinned, open []*pool
	for _, p := range a.atlas.pools {
		switch {
		case !p.AutoAssign || p.Broken:
		case p.Allocation == nil:
			open = append(open, p)
		case p.admits(c):
			pinned = append(pinned, p)
		}
	}
	switch {
	case !a.atlas.usable():
		return nil, &refusal{lb.ReasonNoPool, "there is no usable pool; create an IPAddressPool" + a.atlas.broken()}
	case len(pinned)+len(open) == 0:
		return nil, &refusal{
			lb.ReasonNoMatchingPool,
			"no pool serves this Service: each has autoAssign false or a serviceAllocation that does not select it" + a.atlas.broken(),
		}
	}
	return [][]*pool{pinned, open}, nil
}

// named returns the pool that the address-pool annotation names.
func (a *Allocator) named(c *claimant) (*pool, *refusal) {
	name := c.claim.Service.Pool
	p, ok := a.atlas.byName[name]
	switch {
	case !ok:
		return nil, &refusal{lb.ReasonUnknownPool, fmt.Sprintf("there is no pool %q, which the address-pool annotation names", name)}
	case p.Broken:
		return nil, &refusal{lb.ReasonPoolBroken, fmt.Sprintf("pool %s, which the address-pool annotation names, is invalid; see its conditions", name)}
	case !p.admits(c):
		return nil, &refusal{lb.ReasonNotAllowed, notAdmitted(p, c)}
	}
	return p, nil
}

// wish says in words what the claim asks for, as the cause of a move.
func (c *claimant) wish() string {
	s := c.claim.Service
	switch {
	case len(s.Requested) > 0:
		return "the Service asks for " + joinAddresses(s.Requested)
	case s.Pool != "":
		return "the Service asks for pool " + s.Pool
	}
	return "the Service asks for addresses of both families"
}

// brokenPoolOf returns the Broken pool that one of the grants is from, or nil.
func brokenPoolOf(grants []grant) *pool {
	for _, g := range grants {
		if g.pool.Broken {
			return g.pool
		}
	}
	return nil
}

func otherFamily(f lb.Family) lb.Family {
	if f == lb.IPv4 {
		return lb.IPv6
	}
	return lb.IPv4
}

func sameAddresses(grants []grant, addrs []netip.Addr) bool {
	if len(grants) != len(addrs) {
		return false
	}
	for _, g := range grants {
		if !slices.Contains(addrs, g.addr) {
			return false
		}
	}
	return true
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func joinAddresses(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}
