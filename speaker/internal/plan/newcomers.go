// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// meet finds out which nodes of a View are new.
func (o *Ownership) meet(v *View) {
	able := make(map[lb.NodeName]struct{}, v.able.Len())
	o.newcomers = v.nodes.None()
	for i := range v.able.All() {
		name := v.nodes.Name(i)
		if _, ok := o.welcomed[name]; ok || o.welcomed == nil {
			able[name] = struct{}{}
		} else {
			o.newcomers.Add(i)
		}
	}
	o.welcomed = able
}

// Welcome ends the newness of nodes: they have been given what was due to them.
func (o *Ownership) Welcome() {
	for i := range o.newcomers.All() {
		o.welcomed[o.view.nodes.Name(i)] = struct{}{}
	}
	o.newcomers = o.view.nodes.None()
}

// Due is what a claimant is to leave to others for the sake of newcomers.
type Due struct {
	// To are addresses that are to be theirs from now on.
	To map[lb.NodeName][]netip.Addr
	// Free are addresses that the claimant has while those are away that they are kept for,
	// and that somebody with more room is to have meanwhile.
	Free []netip.Addr
}

// Due returns what a node is to leave to others.
//
// A newcomer that owns nothing, because nothing has been kept for it, is due the addresses
// that rank it before their claimant, the oldest first, until it has its limit. After that
// those who have more than their limit leave their youngest, as long as newcomers have less
// than theirs. So one that comes back has what it had, and is given more only where somebody
// has too much.
//
// It follows from what was put in and from which nodes are new: what each claimant is to
// leave, all speakers find alike. With newcomers it costs a look at every address.
func (o *Ownership) Due(claimant lb.NodeName) Due {
	due := Due{To: make(map[lb.NodeName][]netip.Addr)}
	node, ok := o.view.nodes.Index(claimant)
	if !ok || o.newcomers.Empty() {
		return due
	}
	for _, groups := range o.groups {
		for _, g := range groups {
			if g.candidates.Has(node) && g.candidates.Overlaps(o.newcomers) {
				o.share(g, func(x claimed, to int) {
					if x.claimant == node {
						due.add(o.view, g.members[x.key], to)
					}
				})
			}
		}
	}
	return due
}

func (d *Due) add(v *View, members []member, to int) {
	for _, m := range members {
		if to == elect.Nobody {
			d.Free = append(d.Free, m.address)
		} else {
			d.To[v.nodes.Name(to)] = append(d.To[v.nodes.Name(to)], m.address)
		}
	}
}

// claimed is an address whose claimant owns it, by its key.
type claimed struct {
	key      netip.Addr
	age      int64
	claimant int
	held     bool
}

// shares is how a group makes room for newcomers.
type shares struct {
	rankings *elect.Rankings
	limit    int
	// loads count what each candidate owns, or is to, and kept what is kept for it.
	loads, kept map[int]int
	// poor are newcomers without anything, and fresh all of them, who have so much room.
	poor, fresh elect.Set
	room        int
}

// share passes what is to be left to newcomers to give, and to whom: to Nobody if others
// find that out.
func (o *Ownership) share(g *group, give func(x claimed, to int)) {
	s := shares{
		rankings: o.rankings, limit: elect.Limit(g.spread.Len(), g.candidates.Len()),
		loads: make(map[int]int), kept: make(map[int]int),
		poor: o.view.nodes.None(), fresh: slices.Clone(g.candidates),
	}
	s.fresh.Intersect(o.newcomers)
	all := g.claimed()
	s.count(g, all)
	all = slices.DeleteFunc(all, func(x claimed) bool { return s.fresh.Has(x.claimant) })
	give = s.counting(give)
	all = slices.DeleteFunc(all, func(x claimed) bool {
		to := s.preferred(x)
		if to != elect.Nobody {
			give(x, to)
		}
		return to != elect.Nobody
	})
	for _, x := range slices.Backward(all) {
		switch {
		case s.room <= 0:
			return
		case x.held && s.loads[x.claimant] > s.limit:
			give(x, elect.Nobody)
		case !x.held && s.kept[x.claimant] > s.limit:
			give(x, s.roomy(x))
		}
	}
}

// count takes stock.
func (s *shares) count(g *group, all []claimed) {
	for key := range g.members {
		if owner, ok := g.spread.Owner(key); ok {
			s.loads[owner]++
		}
	}
	for _, x := range all {
		if !x.held {
			s.kept[x.claimant]++
		}
	}
	for i := range s.fresh.All() {
		s.room += max(0, s.limit-s.loads[i])
		if s.loads[i] == 0 {
			s.poor.Add(i)
		}
	}
}

// counting has give keep account.
func (s *shares) counting(give func(claimed, int)) func(claimed, int) {
	return func(x claimed, to int) {
		s.room--
		s.loads[x.claimant]--
		s.loads[to]++
		if !x.held {
			s.kept[x.claimant]--
		}
		give(x, to)
	}
}

func (s *shares) full(node int) bool { return s.loads[node] >= s.limit }

// preferred returns the poor newcomer with room that an address ranks first, if it ranks
// it before its claimant; else Nobody.
func (s *shares) preferred(x claimed) int {
	if s.poor.Empty() || x.held {
		return elect.Nobody
	}
	s.poor.Add(x.claimant)
	defer s.poor.Remove(x.claimant)
	to := s.rankings.Next(x.key, s.poor, func(n int) bool { return n != x.claimant && s.full(n) })
	if to == x.claimant {
		return elect.Nobody
	}
	return to
}

// roomy returns a newcomer with room: the one that an address ranks first, if that is known.
func (s *shares) roomy(x claimed) int {
	to := s.rankings.Next(x.key, s.fresh, s.full)
	if to != elect.Nobody {
		return to
	}
	for i := range s.fresh.All() {
		if !s.full(i) {
			return i
		}
	}
	return elect.Nobody
}

// claimed returns what is claimed in the group, the oldest first.
func (g *group) claimed() []claimed {
	all := make([]claimed, 0, len(g.members))
	for key, members := range g.members {
		if terms := termsOf(members); terms.Claimant != elect.Nobody {
			all = append(all, claimed{key, terms.Age, terms.Claimant, slices.ContainsFunc(members, member.isHeld)})
		}
	}
	slices.SortFunc(all, func(x, y claimed) int {
		return cmp.Or(cmp.Compare(x.age, y.age), x.key.Compare(y.key))
	})
	return all
}

func (m member) isHeld() bool { return m.held }
