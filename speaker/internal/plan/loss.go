// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Lose replaces the View by one of which nothing is different but that some nodes are not
// among its Members any more. It is Use for those who are in a hurry: a death costs the
// addresses that it moves, and but a glance at the others.
//
// Claimants returns those of an address, as they would be passed to Put. What has to be put
// in again is what Lose returns, and every address that several Services hold. It must not
// be called between a Put and the Settle that follows.
func (o *Ownership) Lose(v *View, gone []lb.NodeName, claimants func(netip.Addr) []lb.NodeName) (again []netip.Addr) {
	o.meet(v)
	o.view = v
	for _, name := range gone {
		if node, ok := v.nodes.Index(name); ok {
			again = append(again, o.lose(node)...)
		}
	}
	for _, groups := range o.groups {
		for _, g := range groups {
			o.reclaim(g, claimants)
		}
	}
	return again
}

// lose takes a node out of all groups. It returns the addresses of those that would be
// without candidates, or have those of another group then.
func (o *Ownership) lose(node int) (again []netip.Addr) {
	for _, g := range o.groupsOf(node) {
		rest := slices.Clone(g.candidates)
		rest.Remove(node)
		if rest.Empty() || o.groupOf(rest) != nil {
			for _, members := range g.members {
				for _, m := range members {
					again = append(again, m.address)
				}
			}
			continue
		}
		o.unlist(g)
		g.spread.Lose(node) // which has the group's candidates
		o.list(g)
		o.unsettled[g] = struct{}{}
	}
	return again
}

// groupsOf returns the groups that a node is a candidate of.
func (o *Ownership) groupsOf(node int) []*group {
	var of []*group
	for _, groups := range o.groups {
		for _, g := range groups {
			if g.candidates.Has(node) {
				of = append(of, g)
			}
		}
	}
	return of
}

// reclaim takes note of the claims on the addresses of a group.
func (o *Ownership) reclaim(g *group, claimants func(netip.Addr) []lb.NodeName) {
	for key, members := range g.members {
		changed := false
		for i := range members {
			now := g.member(o.view, members[i].address, members[i].terms.Age, claimants(members[i].address))
			changed = changed || now != members[i]
			members[i] = now
		}
		if changed {
			o.say(seat{g, key})
		}
	}
}
