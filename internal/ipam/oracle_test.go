// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// oracle answers the same questions as an Allocator by looking at everything: it
// lists every address of every pool, asks every holder, and after each change
// offers every waiting Service, oldest first, what it wants, until nobody changes.
type oracle struct {
	pools  []lb.Pool
	claims []*wisher
	// reservations are sorted by age.
	reservations []ipam.Reservation
}

// wisher is a Service as the oracle knows it.
type wisher struct {
	ipam.Claim
	has    []held
	shrunk bool
	reason lb.Reason
	unmet  bool
}

type held struct {
	addr netip.Addr
	pool string
}

func (o *oracle) setPools(pools []lb.Pool) {
	o.pools = pools
	var foreign, lost, rest []*wisher
	for _, w := range o.byAge() {
		var kept []held
		for _, h := range w.has {
			if p := o.poolFor(h.addr, h.pool); p != nil && (p.Broken || w.Foreign || admits(p, w)) {
				kept = append(kept, held{h.addr, p.Name})
			}
		}
		switch {
		case w.Foreign:
			foreign = append(foreign, w)
		case len(kept) < len(w.has):
			w.shrunk = len(kept) > 0
			lost = append(lost, w)
		default:
			rest = append(rest, w)
		}
		w.has = kept
	}
	for _, w := range slices.Concat(foreign, lost, rest) {
		o.settle(w)
	}
	o.calm()
}

func (o *oracle) adopt(c ipam.Claim) {
	w := &wisher{Claim: c}
	o.claims = append(o.claims, w)
	if c.Foreign {
		o.settle(w)
		return
	}
	for _, a := range c.Service.Addresses {
		p := o.poolFor(a, c.Service.PoolOf(a))
		if p == nil {
			w.shrunk = true
			continue
		}
		if (p.Broken || admits(p, w)) && o.mayHave(w, a) {
			w.has = append(w.has, held{a, p.Name})
		}
	}
	w.shrunk = w.shrunk && len(w.has) > 0
}

func (o *oracle) assign(c ipam.Claim) {
	i := slices.IndexFunc(o.claims, func(w *wisher) bool { return w.Service.Name == c.Service.Name })
	if i < 0 {
		o.claims = append(o.claims, &wisher{})
		i = len(o.claims) - 1
	}
	o.claims[i].Claim = c
	o.settle(o.claims[i])
	o.calm()
}

func (o *oracle) release(name lb.ServiceName) {
	o.claims = slices.DeleteFunc(o.claims, func(w *wisher) bool { return w.Service.Name == name })
	o.calm()
}

// calm serves those who wait until nobody can be served.
func (o *oracle) calm() {
	for changed := true; changed; {
		changed = false
		for _, w := range o.byAge() {
			if (w.unmet || w.Foreign) && o.settle(w) {
				changed = true
				break
			}
		}
	}
}

func (o *oracle) byAge() []*wisher {
	sorted := slices.Clone(o.claims)
	slices.SortFunc(sorted, func(a, b *wisher) int {
		return cmp.Or(a.Service.Created.Compare(b.Service.Created), cmp.Compare(a.Service.Name.String(), b.Service.Name.String()))
	})
	return sorted
}

// settle gives w what it claims, as far as possible. It reports a change.
func (o *oracle) settle(w *wisher) bool {
	before := w.has
	w.has, w.reason, w.unmet = o.decide(w)
	w.shrunk = false
	return !slices.Equal(before, w.has)
}

func (o *oracle) decide(w *wisher) ([]held, lb.Reason, bool) {
	s := w.Service
	if w.Foreign {
		return o.found(w), lb.ReasonOtherClass, false
	}
	wrong := w.Invalid != "" || len(s.Families) == 0 ||
		s.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(s.Families) < 2
	var kept []held
	for _, h := range w.has {
		p := o.poolFor(h.addr, h.pool)
		if p.Broken || admits(p, w) {
			if o.mayHave(w, h.addr) && (wrong || slices.Contains(wanted(w), lb.FamilyOf(h.addr))) {
				kept = append(kept, h)
			}
		}
	}
	if wrong {
		return kept, lb.ReasonInvalidService, true
	}

	both := s.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack
	if part := named(s, kept); !both && len(part) == 1 {
		kept = part
	}
	conforms := len(kept) > 0
	for _, h := range kept {
		conforms = conforms && (s.Pool == "" || s.Pool == h.pool)
		conforms = conforms && (len(s.Requested) == 0 || slices.Contains(s.Requested, h.addr) && len(kept) == len(s.Requested))
	}
	enough := conforms && (!both || len(kept) == 2)
	if prefersPair(w) && w.shrunk && len(kept) == 1 {
		enough = false
	}
	if enough {
		return o.topUp(w, kept)
	}
	granted, reason := o.find(w, kept, conforms)
	switch {
	case granted != nil:
		return o.topUp(w, granted)
	case both && len(kept) < 2:
		return nil, reason, true
	case w.shrunk && conforms:
		return o.topUp(w, kept)
	}
	return kept, reason, true
}

// found is what a Service of others has by its status, and nobody of ours.
func (o *oracle) found(w *wisher) []held {
	var found []held
	for _, a := range w.Service.Addresses {
		p := o.poolFor(a, w.Service.PoolOf(a))
		if p != nil && len(o.holders(a, w)) == 0 && !slices.Contains(found, held{a, p.Name}) {
			found = append(found, held{a, p.Name})
		}
	}
	return found
}

// named are those of the addresses that are from the pool asked for.
func named(s *lb.Service, kept []held) []held {
	var part []held
	for _, h := range kept {
		if s.Pool == "" || s.Pool == h.pool {
			part = append(part, h)
		}
	}
	return part
}

// topUp adds the second address that is preferred, from the pool of the first.
func (o *oracle) topUp(w *wisher, has []held) ([]held, lb.Reason, bool) {
	for _, h := range has {
		if o.pool(h.pool).Broken {
			return has, lb.ReasonPoolBroken, true
		}
	}
	if !prefersPair(w) || len(has) != 1 {
		return has, lb.ReasonAllocated, false
	}
	if pair := o.paired(w, has[0]); pair != nil {
		return pair, lb.ReasonAllocated, false
	}
	return has, lb.ReasonAllocated, true
}

// paired adds the other family to an address: from its pool, or from any if w agrees.
func (o *oracle) paired(w *wisher, has held) []held {
	pools := []*lb.Pool{o.pool(has.pool)}
	if w.Service.AnyPools {
		for _, h := range o.mine(w) {
			if h.addr.Is4() != has.addr.Is4() {
				return []held{has, h}
			}
		}
		tiers, _ := o.tiers(w)
		pools = append(pools, slices.Concat(tiers[0], tiers[1])...)
	}
	for _, p := range pools {
		if a, ok := o.first(w, p, other(has.addr)); ok {
			return []held{has, {a, p.Name}}
		}
	}
	return nil
}

func (o *oracle) find(w *wisher, kept []held, conforms bool) ([]held, lb.Reason) {
	s := w.Service
	if len(s.Requested) > 0 {
		return o.findRequested(w)
	}
	families := wanted(w)
	if part := named(s, kept); len(part) == 1 && len(families) == 2 {
		if pair := o.paired(w, part[0]); pair != nil {
			return pair, lb.ReasonAllocated
		}
	}
	pairOnly := s.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack || w.shrunk && conforms
	if back := o.back(w, pairOnly); back != nil {
		return back, lb.ReasonAllocated
	}
	tiers, refused := o.tiers(w)
	if refused != lb.ReasonAllocated {
		return nil, refused
	}
	all := slices.Concat(tiers[0], tiers[1])
	if s.AnyPools && len(families) == 2 {
		if granted := o.fromAny(w, tiers); granted != nil {
			return granted, lb.ReasonAllocated
		}
		if s.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack {
			has := func(f lb.Family) bool {
				return slices.ContainsFunc(all, func(p *lb.Pool) bool { return len(list(p, f)) > 0 })
			}
			if has(lb.IPv4) && has(lb.IPv6) {
				return nil, lb.ReasonPoolFull
			}
			return nil, lb.ReasonFamilyMissing
		}
	}
	for _, tier := range tiers {
		if granted := o.fromTier(w, tier, families, pairOnly); granted != nil {
			return granted, lb.ReasonAllocated
		}
	}
	for _, p := range all {
		n := 0
		for _, f := range families {
			if len(list(p, f)) > 0 {
				n++
			}
		}
		if n == len(families) || n > 0 && s.FamilyPolicy != corev1.IPFamilyPolicyRequireDualStack {
			return nil, lb.ReasonPoolFull
		}
	}
	return nil, lb.ReasonFamilyMissing
}

// tiers are the pools that may serve w: those that select it, and those for all.
func (o *oracle) tiers(w *wisher) (tiers [2][]*lb.Pool, refused lb.Reason) {
	s := w.Service
	if s.Pool != "" {
		p := o.pool(s.Pool)
		switch {
		case p == nil:
			return tiers, lb.ReasonUnknownPool
		case p.Broken:
			return tiers, lb.ReasonPoolBroken
		case !admits(p, w):
			return tiers, lb.ReasonNotAllowed
		}
		tiers[0] = []*lb.Pool{p}
	} else {
		some := false
		for i := range o.pools {
			p := &o.pools[i]
			some = some || len(list(p, lb.IPv4))+len(list(p, lb.IPv6)) > 0
			if p.AutoAssign && !p.Broken && admits(p, w) {
				tier := 0
				if p.Allocation == nil {
					tier = 1
				}
				tiers[tier] = append(tiers[tier], p)
			}
		}
		if !some {
			return tiers, lb.ReasonNoPool
		}
		if len(tiers[0])+len(tiers[1]) == 0 {
			return tiers, lb.ReasonNoMatchingPool
		}
	}
	return tiers, lb.ReasonAllocated
}

// fromAny gives both families to one who does not mind that they are from two pools.
func (o *oracle) fromAny(w *wisher, tiers [2][]*lb.Pool) []held {
	for _, tier := range tiers {
		if granted := o.fromTier(w, tier, []lb.Family{lb.IPv4, lb.IPv6}, true); granted != nil {
			return granted
		}
	}
	var pair []held
	for _, f := range []lb.Family{lb.IPv4, lb.IPv6} {
		for _, p := range slices.Concat(tiers[0], tiers[1]) {
			if a, ok := o.first(w, p, f); ok {
				pair = append(pair, held{a, p.Name})
				break
			}
		}
	}
	if len(pair) == 2 {
		return pair
	}
	return nil
}

func (o *oracle) fromTier(w *wisher, tier []*lb.Pool, families []lb.Family, pairOnly bool) []held {
	if len(families) == 2 {
		for _, p := range tier {
			v4, ok4 := o.first(w, p, lb.IPv4)
			v6, ok6 := o.first(w, p, lb.IPv6)
			if ok4 && ok6 {
				return []held{{v4, p.Name}, {v6, p.Name}}
			}
		}
		if pairOnly {
			return nil
		}
	}
	for _, f := range families {
		for _, p := range tier {
			if a, ok := o.first(w, p, f); ok {
				return []held{{a, p.Name}}
			}
		}
	}
	return nil
}

func (o *oracle) findRequested(w *wisher) ([]held, lb.Reason) {
	s := w.Service
	var seen []lb.Family
	for _, a := range s.Requested {
		f := lb.FamilyOf(a)
		if !slices.Contains(wanted(w), f) || slices.Contains(seen, f) {
			return nil, lb.ReasonInvalidService
		}
		seen = append(seen, f)
	}
	if s.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(seen) < 2 {
		return nil, lb.ReasonInvalidService
	}
	var granted []held
	for _, a := range s.Requested {
		p := o.poolFor(a, "")
		if p == nil || s.Pool != "" && p.Name != s.Pool {
			return nil, lb.ReasonOutsidePools
		}
		if !admits(p, w) {
			return nil, lb.ReasonNotAllowed
		}
		granted = append(granted, held{a, p.Name})
	}
	if len(granted) == 2 && granted[0].pool != granted[1].pool && !s.AnyPools {
		return nil, lb.ReasonOutsidePools
	}
	for _, h := range granted {
		if o.barred(w, h.addr) {
			return nil, lb.ReasonReserved
		}
		for _, other := range o.holders(h.addr, w) {
			if other.Service.SharingKey == "" || s.SharingKey == "" || other.Foreign {
				return nil, lb.ReasonAddressInUse
			}
			if !mayShare(other.Claim, w.Claim) {
				return nil, lb.ReasonSharingRefused
			}
		}
	}
	return granted, lb.ReasonAllocated
}

// first returns the first address of the pool that w may have.
func (o *oracle) first(w *wisher, p *lb.Pool, f lb.Family) (netip.Addr, bool) {
	for _, h := range o.mine(w) {
		if h.pool == p.Name && lb.FamilyOf(h.addr) == f {
			return h.addr, true
		}
	}
	for _, a := range list(p, f) {
		if o.mayHave(w, a) && !o.barred(w, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (o *oracle) mayHave(w *wisher, a netip.Addr) bool {
	for _, other := range o.holders(a, w) {
		if !mayShare(other.Claim, w.Claim) {
			return false
		}
	}
	return true
}

// holders are those who have a, without w, the oldest first.
func (o *oracle) holders(a netip.Addr, w *wisher) []*wisher {
	var found []*wisher
	for _, other := range o.byAge() {
		if other.Service.Name != w.Service.Name && slices.ContainsFunc(other.has, func(h held) bool { return h.addr == a }) {
			found = append(found, other)
		}
	}
	return found
}
