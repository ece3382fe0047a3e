// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// Ownership knows who owns each address, with addresses that have the same candidates
// spread evenly over these: see elect.Spread for the bounds.
//
// What is put in is all that counts: a View, addresses with their Services, and claims.
// The order does not, nor does what was there before. An address costs what it moves.
//
// An Ownership is not safe for concurrent use.
type Ownership struct {
	view     *View
	rankings *elect.Rankings
	groups   map[uint64][]*group
	// held says where each address is that has candidates.
	held map[netip.Addr]seat
	// round has what was put in since the last Settle, unsettled the groups concerned.
	round     map[netip.Addr]*examination
	unsettled map[*group]struct{}
	// welcomed are the nodes that could own addresses when Welcome was called last, and
	// ever since; newcomers are the others that can. The first View has none.
	welcomed  map[lb.NodeName]struct{}
	newcomers elect.Set
}

// group is the addresses that have the same candidates.
type group struct {
	candidates elect.Set
	spread     *elect.Spread
	// members are the addresses that are elected for by the same key, sorted.
	members map[netip.Addr][]member
}

type member struct {
	address netip.Addr
	terms   elect.Terms
	// held says that the claimant is not the one that the address is kept for.
	held bool
}

// seat is where an address is.
type seat struct {
	group *group
	key   netip.Addr
}

// NewOwnership returns an ownership of nothing. It can be used once it has a View.
func NewOwnership() *Ownership { return new(Ownership) }

// Use replaces the View. All addresses have to be put in again.
func (o *Ownership) Use(v *View) {
	if o.rankings == nil || !slices.Equal(o.rankings.Nodes().Names(), v.nodes.Names()) {
		o.rankings = elect.NewRankings(v.nodes)
	}
	o.meet(v)
	o.view, o.groups = v, make(map[uint64][]*group)
	// As many addresses as there were are to be expected.
	n := len(o.held)
	o.held, o.round = make(map[netip.Addr]seat, n), make(map[netip.Addr]*examination, n)
	o.unsettled = make(map[*group]struct{})
}

// Put says which Services hold an address; none: nobody owns it any more. The first of the
// claimants that is among the best candidates owns it, whatever its limit: the node that it
// is kept for, say, and the one that has it meanwhile. It does not keep the sharers.
func (o *Ownership) Put(a netip.Addr, sharers []Sharer, claimants ...lb.NodeName) {
	x := o.view.examine(a, sharers)
	o.round[a] = &x
	was, wanted := o.held[a], o.seatFor(&x)
	if was != wanted && was.group != nil {
		o.leave(a, was)
	}
	if wanted.group == nil {
		o.rankings.Forget(a) // it may be remembered from before the View
		return
	}
	x.candidates = wanted.group.candidates // one set for all is enough
	o.held[a] = wanted
	o.join(wanted, wanted.group.member(o.view, a, x.age, claimants))
}

// member returns what an address is in the group: whose it is by right, that is.
func (g *group) member(v *View, a netip.Addr, age int64, claimants []lb.NodeName) member {
	m := member{address: a, terms: elect.Terms{Age: age, Claimant: elect.Nobody}}
	for n, c := range claimants {
		if i, ok := v.nodes.Index(c); ok && g.candidates.Has(i) {
			m.terms.Claimant, m.held = i, n > 0 && claimants[0] != ""
			break
		}
	}
	return m
}

// Settle yields the verdict on each address that was put in since the last time, and on
// each one that another owner has fallen to because of these. Of the latter it asks for
// the sharers.
func (o *Ownership) Settle(sharers func(netip.Addr) []Sharer) iter.Seq2[netip.Addr, Verdict] {
	for g := range o.unsettled {
		g.spread.Settle(func(key netip.Addr) {
			for _, m := range g.members[key] {
				if _, ok := o.round[m.address]; !ok {
					x := o.view.examine(m.address, sharers(m.address))
					o.round[m.address] = &x
				}
			}
		})
		o.retire(g)
	}
	o.unsettled = make(map[*group]struct{})
	round := o.round
	o.round = make(map[netip.Addr]*examination)
	return func(yield func(netip.Addr, Verdict) bool) {
		for a, x := range round {
			if !yield(a, o.view.conclude(x, o.ownerOf(a))) {
				return
			}
		}
	}
}

// Heir returns the node that the address would fall to if its owner were gone, as far as
// one can tell without settling; empty if there is none.
func (o *Ownership) Heir(a netip.Addr) lb.NodeName {
	s, ok := o.held[a]
	if !ok {
		return ""
	}
	owner := o.ownerOf(a)
	full := func(node int) bool { return node == owner || !s.group.spread.HasRoom(node) }
	heir := o.rankings.Next(s.key, s.group.candidates, full)
	if heir == elect.Nobody {
		heir = o.rankings.Next(s.key, s.group.candidates, func(node int) bool { return node == owner })
	}
	if heir == elect.Nobody {
		return ""
	}
	return o.view.nodes.Name(heir)
}

// Bequest returns the verdict if the speaker of the address's owner were gone: its Heir
// has it, or, where the others are candidates of second choice, one of these.
func (o *Ownership) Bequest(a netip.Addr, sharers []Sharer) Verdict {
	if heir, ok := o.view.nodes.Index(o.Heir(a)); ok {
		x := o.view.examine(a, sharers)
		return o.view.conclude(&x, heir)
	}
	return o.view.decideWithout(o.ownerOf(a), a, sharers)
}

// Heirs returns the nodes that the addresses of a node would fall to if it were gone: all
// of them and no others, but for addresses that only a node of second choice could have.
// It costs a look at every address that the node might own.
func (o *Ownership) Heirs(of lb.NodeName) map[lb.NodeName]struct{} {
	heirs := make(map[lb.NodeName]struct{})
	node, ok := o.view.nodes.Index(of)
	if !ok {
		return heirs
	}
	for _, groups := range o.groups {
		for _, g := range groups {
			if g.candidates.Has(node) && g.candidates.Len() > 1 {
				o.bequeath(g, node, heirs)
			}
		}
	}
	return heirs
}

// bequeath adds the heirs of a node in a group.
func (o *Ownership) bequeath(g *group, node int, heirs map[lb.NodeName]struct{}) {
	rest := slices.Clone(g.candidates)
	rest.Remove(node)
	without := elect.NewSpread(o.rankings, rest)
	for key, members := range g.members {
		without.Put(key, termsOf(members))
	}
	without.Settle(func(netip.Addr) {})
	for key := range g.members {
		if owner, _ := g.spread.Owner(key); owner == node {
			heir, _ := without.Owner(key)
			heirs[o.view.nodes.Name(heir)] = struct{}{}
		}
	}
}

func (o *Ownership) ownerOf(a netip.Addr) int {
	s, ok := o.held[a]
	if !ok {
		return elect.Nobody
	}
	owner, _ := s.group.spread.Owner(s.key)
	return owner
}

// seatFor returns where an address belongs; nowhere if it has no candidates.
func (o *Ownership) seatFor(x *examination) seat {
	if x.candidates.Empty() {
		return seat{}
	}
	if g := o.groupOf(x.candidates); g != nil {
		return seat{g, x.key}
	}
	g := &group{
		candidates: x.candidates, spread: elect.NewSpread(o.rankings, x.candidates),
		members: make(map[netip.Addr][]member),
	}
	o.list(g)
	return seat{g, x.key}
}

// groupOf returns the group with these candidates; nil if there is none.
func (o *Ownership) groupOf(candidates elect.Set) *group {
	for _, g := range o.groups[candidates.Hash()] {
		if slices.Equal(g.candidates, candidates) {
			return g
		}
	}
	return nil
}

// join adds an address to a group, or replaces what was said about it.
func (o *Ownership) join(s seat, m member) {
	members := s.group.members[s.key]
	i, found := slices.BinarySearchFunc(members, m.address, member.compare)
	switch {
	case found && members[i] == m:
		return
	case found:
		members[i] = m
	default:
		members = slices.Insert(members, i, m)
	}
	s.group.members[s.key] = members
	o.say(s)
}

// leave takes an address out of its group.
func (o *Ownership) leave(a netip.Addr, s seat) {
	delete(o.held, a)
	members := slices.DeleteFunc(s.group.members[s.key], func(m member) bool { return m.address == a })
	if len(members) == 0 {
		delete(s.group.members, s.key)
	} else {
		s.group.members[s.key] = members
	}
	o.say(s)
}

// say passes a key on to the spread.
func (o *Ownership) say(s seat) {
	o.unsettled[s.group] = struct{}{}
	members := s.group.members[s.key]
	if len(members) == 0 {
		s.group.spread.Remove(s.key)
		o.rankings.Forget(s.key)
		return
	}
	s.group.spread.Put(s.key, termsOf(members))
}

// termsOf returns those of a key: the age of its oldest address, and the claim on the
// lowest that is claimed.
func termsOf(members []member) elect.Terms {
	terms := members[0].terms
	for _, m := range members[1:] {
		terms.Age = min(terms.Age, m.terms.Age)
		if terms.Claimant == elect.Nobody {
			terms.Claimant = m.terms.Claimant
		}
	}
	return terms
}

// retire forgets a group without addresses.
func (o *Ownership) retire(g *group) {
	if g.spread.Len() > 0 {
		return
	}
	o.unlist(g)
}

// list makes a group one that can be found by its candidates.
func (o *Ownership) list(g *group) {
	hash := g.candidates.Hash()
	o.groups[hash] = append(o.groups[hash], g)
}

func (o *Ownership) unlist(g *group) {
	hash := g.candidates.Hash()
	rest := slices.DeleteFunc(o.groups[hash], func(other *group) bool { return other == g })
	if len(rest) == 0 {
		delete(o.groups, hash)
	} else {
		o.groups[hash] = rest
	}
}

func (m member) compare(a netip.Addr) int { return m.address.Compare(a) }
