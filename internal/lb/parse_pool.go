// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

// parsePools reads the pools, the oldest first: it keeps the addresses that younger
// ones claim as well, and each goes on with what is left to it.
func (p *configParser) parsePools(objects []*v1beta1.IPAddressPool) {
	var land territory
	for _, o := range byAge(objects) {
		r := report{object: objectOf("IPAddressPool", o)}
		pool := parsePool(&r, o, &land)
		p.report(r)
		p.config.Pools = append(p.config.Pools, pool)
		p.poolLabels[pool.Name] = pool.Labels
	}
	slices.SortFunc(p.config.Pools, compareAssignment)
}

// parsePool reads one pool. A pool with anything fatal in it is broken as a whole: to
// serve the readable part of a list with a slip in it would hide the slip, and might
// give away addresses that were meant to be left out.
func parsePool(r *report, o *v1beta1.IPAddressPool, land *territory) Pool {
	spec := field.NewPath("spec")
	pool := Pool{
		Name:          o.Name,
		Created:       o.CreationTimestamp.Time,
		Labels:        o.Labels,
		AutoAssign:    o.Spec.AutoAssign == nil || *o.Spec.AutoAssign,
		AvoidBuggyIPs: o.Spec.AvoidBuggyIPs,
	}
	ranges := parseRanges(r, spec.Child("addresses"), o.Spec.Addresses)
	if o.Spec.ServiceAllocation != nil {
		pool.Allocation = parseAllocation(r, spec.Child("serviceAllocation"), o.Spec.ServiceAllocation)
	}
	if r.rejected {
		pool.Broken = true
		return pool
	}
	for i, entry := range ranges {
		free, taken := land.claim(holding{entry, o.Name, i})
		pool.Ranges = append(pool.Ranges, free...)
		r.contested(spec.Child("addresses"), o.Name, i, taken)
	}
	if len(pool.Ranges) == 0 {
		r.note(ReasonConflict, spec.Child("addresses").String(), "older pools have every address of this pool, so it can give none; "+
			"add other addresses, or delete the pool")
	}
	return pool
}

func parseRanges(r *report, path *field.Path, entries []string) []Range {
	if len(entries) == 0 {
		r.reject(ReasonInvalid, path.String(), "is empty; list at least one range of addresses")
		return nil
	}
	ranges := make([]Range, 0, len(entries))
	for i, entry := range entries {
		parsed, err := ParseRange(entry)
		if err != nil {
			r.reject(ReasonInvalid, path.Index(i).String(), "%v", err)
			continue
		}
		ranges = append(ranges, parsed)
	}
	return ranges
}

func parseAllocation(r *report, path *field.Path, a *v1beta1.ServiceAllocation) *PoolAllocation {
	return &PoolAllocation{
		Priority:           a.Priority,
		Namespaces:         r.distinct(path.Child("namespaces"), a.Namespaces),
		NamespaceSelectors: r.selectors(path.Child("namespaceSelectors"), a.NamespaceSelectors),
		ServiceSelectors:   r.selectors(path.Child("serviceSelectors"), a.ServiceSelectors),
	}
}

// contested notes what the entry of a pool with that index did not get, once for each
// holder: an older pool, or an earlier entry of the same pool.
func (r *report) contested(path *field.Path, pool string, entry int, taken []holding) {
	type holder struct {
		pool  string
		entry int
	}
	var holders []holder
	lost := make(map[holder][]Range)
	for _, h := range taken {
		by := holder{h.pool, h.entry}
		if h.pool != pool {
			by.entry = 0 // Which entry of another pool it is matters to nobody.
		}
		if lost[by] == nil {
			holders = append(holders, by)
		}
		lost[by] = append(lost[by], h.Range)
	}
	for _, by := range holders {
		what := describeRanges(lost[by])
		at := path.Index(entry).String()
		if by.pool == pool {
			r.note(ReasonRedundant, at, "%s is already in %s of this pool; remove it from one of them", what, path.Index(by.entry))
			continue
		}
		r.note(ReasonConflict, at, "%s is also in the older IPAddressPool %q, which keeps it; "+
			"this pool goes on without; remove it from one of the two", what, by.pool)
	}
}

// describeRanges names the first few ranges and counts the others: a message is read
// by people, and a prefix may collide with thousands.
func describeRanges(ranges []Range) string {
	const shown = 3
	var words []string
	for _, r := range ranges[:min(shown, len(ranges))] {
		if r.first == r.last {
			words = append(words, r.first.String())
			continue
		}
		words = append(words, r.String())
	}
	text := strings.Join(words, ", ")
	if len(ranges) > shown {
		text += fmt.Sprintf(" and %d more ranges", len(ranges)-shown)
	}
	return text
}

// compareAssignment orders pools as automatic assignment tries them.
func compareAssignment(a, b Pool) int {
	return cmp.Or(
		cmp.Compare(rank(&a), rank(&b)),
		compareBool(a.Allocation == nil, b.Allocation == nil),
		cmp.Compare(a.Name, b.Name),
	)
}

// rank is the priority of p with 0, which is also that of a pool without, last.
func rank(p *Pool) int {
	if p.Allocation == nil || p.Allocation.Priority == 0 {
		return math.MaxInt
	}
	return p.Allocation.Priority
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
