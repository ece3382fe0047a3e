// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/btree"

	"github.com/herald-lb/herald/internal/lb"
)

// step is one call of an Allocator: it collects what changes, and for whom.
type step struct {
	a *Allocator
	// order are the claimants concerned, as they were met.
	order   []*claimant
	changes map[*claimant]*change
	// candidates are waiting claimants that may have become lucky, oldest first.
	candidates *btree.BTreeG[candidate]
	// asked is the claimant that the call is about. It has an outcome in any case.
	asked *claimant
}

// change is what a step did to a claimant.
type change struct {
	before  []grant
	pool    string
	verdict *refusal
	lacking string
	cause   string
}

// candidate is a waiting claimant to be looked at again: for itself, or as the
// first of its line.
type candidate struct {
	*claimant
	line *line
}

func newStep(a *Allocator, asked *claimant) *step {
	less := func(x, y candidate) bool {
		if x.claimant != y.claimant {
			return older(x.claimant, y.claimant)
		}
		return x.line == nil && y.line != nil
	}
	st := &step{a: a, changes: map[*claimant]*change{}, candidates: btree.NewG(degree, less), asked: asked}
	if asked != nil {
		st.remember(asked)
	}
	return st
}

// remember records what c has before the step changes it. Grants are replaced,
// never modified, so they need no copy.
func (st *step) remember(c *claimant) *change {
	ch, ok := st.changes[c]
	if !ok {
		ch = &change{before: c.grants, pool: poolNames(c.grants), verdict: c.verdict, lacking: c.lacking}
		st.changes[c] = ch
		st.order = append(st.order, c)
	}
	return ch
}

// blame records why c loses something. The first cause counts.
func (st *step) blame(c *claimant, cause string) {
	ch := st.remember(c)
	ch.cause = firstOf(ch.cause, cause)
}

// settle decides what c shall hold and makes it so. It reports whether that is
// something else than before.
func (st *step) settle(c *claimant) (changed bool) {
	d := st.a.decide(c)
	st.a.waiting.remove(c)
	held := c.grants
	c.grants, c.verdict, c.lacking, c.waits, c.shrunk = d.grants, d.verdict, d.lacking, d.waits, false
	for _, g := range held {
		if !slices.Contains(d.grants, g) {
			st.vacate(c, g)
			changed = true
		}
	}
	for _, g := range d.grants {
		if slices.Contains(held, g) {
			st.regroup(g)
			st.a.bookings.stir(g.addr, c.name())
			continue
		}
		st.a.occupy(c, g)
		st.announce(g)
		changed = true
	}
	if d.cause != "" {
		st.blame(c, d.cause)
	}
	st.a.waiting.add(c)
	return changed
}

// vacate takes the address from c, which may make others lucky.
func (st *step) vacate(c *claimant, g grant) {
	st.announce(g) // those who could share it under the terms of c
	if !st.a.vacate(c, g) {
		st.announce(g)
		return
	}
	st.consider(st.a.waiting.byNeed[need{g.pool.Name, lb.FamilyOf(g.addr)}])
}

// regroup looks at an address that stays with a Service whose claim has changed:
// with other ports or another key, others may share it now.
func (st *step) regroup(g grant) {
	t := st.a.tenancies[g.addr]
	if t.regroup() || t.closed { // of a closed one the terms are not kept
		st.announce(g)
	}
}

// announce wakes those who wait for that very address or for its sharing key.
func (st *step) announce(g grant) {
	if set, ok := st.a.waiting.byAddr[g.addr]; ok {
		set.Ascend(func(c *claimant) bool {
			st.candidates.ReplaceOrInsert(candidate{c, nil})
			return true
		})
	}
	if t, ok := st.a.tenancies[g.addr]; ok && t.shared {
		st.consider(st.a.waiting.byKey[t.key])
	}
}

// consider wakes the first of each line.
func (st *step) consider(woken lines) {
	for l := range woken {
		st.considerLine(l)
	}
}

func (st *step) considerLine(l *line) {
	if first, ok := l.Min(); ok {
		st.candidates.ReplaceOrInsert(candidate{first, l})
	}
}

// serveWaiting looks again at those who may have become lucky, oldest first, until
// nobody is.
func (st *step) serveWaiting() {
	for {
		next, ok := st.candidates.DeleteMin()
		if !ok {
			return
		}
		st.remember(next.claimant)
		lucky := st.settle(next.claimant)
		if next.line != nil && (lucky || !next.line.Has(next.claimant)) {
			st.considerLine(next.line)
		}
	}
}

// outcomes returns what the step did to whom. Those who were looked at in vain are
// left out, unless the caller asked for them.
func (st *step) outcomes() []Outcome {
	out := make([]Outcome, 0, len(st.order))
	for _, c := range st.order {
		if c == st.asked || st.changes[c].differs(c) {
			out = append(out, st.outcome(c))
		}
	}
	return out
}

func (ch *change) differs(c *claimant) bool {
	same := func(x, y grant) bool { return x.addr == y.addr }
	return !slices.EqualFunc(ch.before, c.grants, same) || ch.pool != poolNames(c.grants) || ch.lacking != c.lacking ||
		(ch.verdict == nil) != (c.verdict == nil) || ch.verdict != nil && *ch.verdict != *c.verdict
}

func (st *step) outcome(c *claimant) Outcome {
	ch := st.changes[c]
	o := Outcome{
		Service:   c.name(),
		Addresses: c.addresses(),
		Pool:      poolNames(c.grants),
		Reason:    lb.ReasonAllocated,
		Message:   c.lacking,
		Previous:  addressesOf(ch.before),
	}
	if c.claim.Foreign {
		o.Reason, o.Message = lb.ReasonOtherClass, "the loadBalancerClass of the Service is served by others"
	}
	if c.verdict != nil {
		o.Reason, o.Message = c.verdict.reason, c.verdict.message
	}
	lost := func(a netip.Addr) bool { return !slices.Contains(o.Addresses, a) }
	if slices.ContainsFunc(o.Previous, lost) {
		o.Cause = ch.cause
	}
	return o
}

// poolNames returns the pools of grants as Outcome.Pool has them.
func poolNames(grants []grant) string {
	if len(grants) == 0 {
		return ""
	}
	first := grants[0].pool.Name
	if !slices.ContainsFunc(grants, func(g grant) bool { return g.pool.Name != first }) {
		return first
	}
	names := make([]string, len(grants))
	for i, g := range grants {
		names[i] = g.pool.Name
	}
	return strings.Join(names, ",")
}
