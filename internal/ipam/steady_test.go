// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// steady performs f and fails if that has cost a Service an address that it may have as
// before: one that a pool contains which admits the Service, and is the one that the
// Service names if it names one, or that was allocated from a pool which is broken now.
// It does not ask the oracle, which might be wrong the same way.
//
// Two are excepted. Who has asked for something else than it had moves when it can. And
// who loses one of two addresses may have to give up the other: RequireDualStack wants
// both or none, PreferDualStack moves to a pool that has both. No one has to who agrees
// to two pools, as long as there is any address to replace the lost one: there may be
// none but with what is reserved, or until somebody has moved to that.
func (w *world) steady(f func()) {
	before := maps.Clone(w.mirror)
	f()
	for name, had := range before {
		claim, exists := w.claims[name]
		if !exists || had.Reason != lb.ReasonAllocated && had.Reason != lb.ReasonPoolBroken {
			continue
		}
		service := *claim.Service
		service.Addresses, service.AllocatedFrom = had.Addresses, had.Pool
		lost := slices.ContainsFunc(had.Addresses, func(a netip.Addr) bool { return !w.allows(claim, a, service.PoolOf(a)) })
		has := w.mirror[name].Addresses
		moves := !claim.Service.AnyPools || len(w.reserved) > 0
		if lost && (moves || len(has) < len(had.Addresses)) {
			continue
		}
		for _, a := range had.Addresses {
			if w.allows(claim, a, service.PoolOf(a)) && !slices.Contains(has, a) {
				w.fail("%s had %v and has %v, though it may have %s as before", name, had.Addresses, has, a)
			}
		}
	}
}

func (w *world) allows(c ipam.Claim, a netip.Addr, from string) bool {
	p := w.oracle.poolFor(a, from)
	asked := c.Service.Pool
	return p != nil && (asked == "" || asked == p.Name) && (p.Broken || admits(p, &wisher{Claim: c}))
}
