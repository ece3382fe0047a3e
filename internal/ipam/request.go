// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/lb"
)

// requested grants the very addresses that c asks for, or none.
func (a *Allocator) requested(c *claimant) ([]grant, *refusal, wait) {
	s := c.claim.Service
	if r := c.misfit(); r != nil {
		return nil, r, wait{}
	}
	grants := make([]grant, 0, len(s.Requested))
	for _, addr := range s.Requested {
		g, r := a.locate(c, addr)
		if r != nil {
			return nil, r, wait{}
		}
		grants = append(grants, g)
	}
	if len(grants) == 2 && grants[0].pool != grants[1].pool && !c.mixes() {
		return nil, &refusal{lb.ReasonOutsidePools, fmt.Sprintf("%s is in pool %s and %s in pool %s; both must be in one pool%s",
			grants[0].addr, grants[0].pool.Name, grants[1].addr, grants[1].pool.Name, unlessMixed)}, wait{}
	}
	for _, g := range grants {
		if r := a.withheldFrom(c, g.addr); r != nil {
			return nil, r, wait{addrs: s.Requested}
		}
		if t, ok := a.tenancies[g.addr]; ok {
			if r := t.conflict(c); r != nil {
				return nil, r, wait{addrs: s.Requested}
			}
		}
	}
	return grants, nil, wait{}
}

// misfit returns why the families of the requested addresses are not those of
// the Service.
func (c *claimant) misfit() *refusal {
	s := c.claim.Service
	var asked []lb.Family
	for _, addr := range s.Requested {
		asked = append(asked, lb.FamilyOf(addr))
	}
	families := c.families()
	ok := len(asked) <= len(families) && (!c.requiresBoth() || len(asked) == 2)
	for i, f := range asked {
		ok = ok && slices.Contains(families, f) && !slices.Contains(asked[:i], f)
	}
	if ok {
		return nil
	}
	return &refusal{lb.ReasonInvalidService, fmt.Sprintf("the requested address %s does not fit ipFamilyPolicy %s with the families %s",
		joinAddresses(s.Requested), s.FamilyPolicy, joinFamilies(s.Families))}
}

// locate returns the place of an address that c asks for.
func (a *Allocator) locate(c *claimant, addr netip.Addr) (grant, *refusal) {
	g, ok := a.atlas.find(addr)
	if !ok {
		return g, &refusal{lb.ReasonOutsidePools, "the Service asks for " + addr.String() + ", but " + a.atlas.absence(addr)}
	}
	if want := c.claim.Service.Pool; want != "" && want != g.pool.Name {
		return g, &refusal{lb.ReasonOutsidePools, fmt.Sprintf("the requested address %s is in pool %s, not in pool %s, which the address-pool annotation names",
			addr, g.pool.Name, want)}
	}
	if !g.pool.admits(c) {
		return g, &refusal{lb.ReasonNotAllowed, fmt.Sprintf("the requested address %s is in pool %s, but %s", addr, g.pool.Name, notAdmitted(g.pool, c))}
	}
	return g, nil
}

// unlessMixed is what lifts the rule that both addresses of a Service are from one pool.
const unlessMixed = ", unless the annotation " + lb.AnnotationDualStackFrom + " is " + lb.DualStackFromAnyPools

// noneFree says that the pools have no address of the families to give: because
// they never had, or because all are in use. Where both are required, only a pool that
// has both families would do, unless two pools may make up the pair; else one of either
// suffices. The message speaks of totals only, which do not change while a Service waits.
func (c *claimant) noneFree(pools []*pool) *refusal {
	families := c.families()
	switch absent := absentFrom(pools, families); {
	case !c.requiresBoth():
		if full := sizes(pools, families, 1); len(full) > 0 {
			return &refusal{lb.ReasonPoolFull, "every address is in use or reserved in " + listFirst(full)}
		}
		return familyMissing(pools, families, "")
	case len(absent) > 0:
		return familyMissing(pools, absent, "")
	case c.mixes():
		return &refusal{lb.ReasonPoolFull, "there is no free address of each family in " + listFirst(sizes(pools, families, 1))}
	}
	if full := sizes(pools, families, len(families)); len(full) > 0 {
		return &refusal{lb.ReasonPoolFull, "there is no free address of each family in " + listFirst(full)}
	}
	return familyMissing(pools, families, "; both must be from one pool"+unlessMixed)
}

// familyMissing says that none of the pools has addresses of the families.
func familyMissing(pools []*pool, families []lb.Family, rule string) *refusal {
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name
	}
	return &refusal{lb.ReasonFamilyMissing, fmt.Sprintf("no pool that may serve this Service has %s addresses: there is %s%s",
		joinFamilies(families), listFirst(names), rule)}
}

// absentFrom returns the families that none of the pools has.
func absentFrom(pools []*pool, families []lb.Family) []lb.Family {
	return slices.DeleteFunc(slices.Clone(families), func(f lb.Family) bool {
		return slices.ContainsFunc(pools, func(p *pool) bool { return p.has(f) })
	})
}

// sizes returns how large those pools are that have at least so many of the families.
func sizes(pools []*pool, families []lb.Family, least int) []string {
	var all []string
	for _, p := range pools {
		var words []string
		for _, f := range families {
			if p.has(f) {
				words = append(words, fmt.Sprintf("%d %s", p.stock(f).capacity, f))
			}
		}
		if len(words) >= least {
			all = append(all, fmt.Sprintf("%s (%s)", p.Name, strings.Join(words, ", ")))
		}
	}
	return all
}

// noSecond says that there is no address of f to go with the first one, whose pool is
// the first of groups.
func (c *claimant) noSecond(groups [][]*pool, f lb.Family) string {
	wanted, first := []lb.Family{f}, groups[0][0]
	if full := sizes(distinct(groups), wanted, 1); len(full) > 0 {
		return "every address is in use or reserved in " + listFirst(full)
	}
	if c.mixes() {
		return familyMissing(distinct(groups), wanted, "").message
	}
	return fmt.Sprintf("pool %s, which the first address is from, has no %s addresses, and both must be from one pool%s", first.Name, f, unlessMixed)
}

// distinct returns the pools of all groups, each once.
func distinct(groups [][]*pool) []*pool {
	var all []*pool
	for _, p := range slices.Concat(groups...) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// listFirst joins names, leaving out what would make a message unreadable.
func listFirst(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

func joinFamilies(families []lb.Family) string {
	words := make([]string, len(families))
	for i, f := range families {
		words[i] = f.String()
	}
	return strings.Join(words, " and ")
}
