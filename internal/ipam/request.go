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
	if len(grants) == 2 && grants[0].pool != grants[1].pool {
		return nil, &refusal{lb.ReasonOutsidePools, fmt.Sprintf("%s is in pool %s and %s in pool %s; both must be in one pool",
			grants[0].addr, grants[0].pool.Name, grants[1].addr, grants[1].pool.Name)}, wait{}
	}
	for _, g := range grants {
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
		return g, &refusal{lb.ReasonOutsidePools, fmt.Sprintf("no usable pool contains the requested address %s", addr)}
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

// noneFree says that the pools have no address of the families to give: because
// they never had, or because all are in use. With both set, only a pool that has
// both families would do; else one of either suffices. The message speaks of totals
// only, which do not change while a Service waits.
func noneFree(pools []*pool, families []lb.Family, both bool) *refusal {
	var full []string
	for _, p := range pools {
		var sizes []string
		for _, f := range families {
			if p.has(f) {
				sizes = append(sizes, fmt.Sprintf("%d %s", p.stock(f).capacity, f))
			}
		}
		if len(sizes) == len(families) || len(sizes) > 0 && !both {
			full = append(full, fmt.Sprintf("%s (%s)", p.Name, strings.Join(sizes, ", ")))
		}
	}
	if len(full) > 0 {
		return &refusal{lb.ReasonPoolFull, "every address is in use in " + listFirst(full)}
	}
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name
	}
	return &refusal{lb.ReasonFamilyMissing, fmt.Sprintf("no pool that may serve this Service has %s addresses: there is %s",
		joinFamilies(families), listFirst(names))}
}

// noSecond says that the pool of a first address has none of f to go with it.
func noSecond(p *pool, f lb.Family) string {
	if p.has(f) {
		return noneFree([]*pool{p}, []lb.Family{f}, false).message
	}
	return fmt.Sprintf("pool %s, which the first address is from, has no %s addresses, and both must be from one pool", p.Name, f)
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
