// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// Decide returns the verdict on an address held by the sharers, which are all the
// Services that have it in their status, in any order. It does not keep them.
//
// Several Services on one address are one thing on the wire: a single node answers
// for all of them. Its candidates are therefore the nodes that suit every Service
// that has anything to announce; one without endpoints, say, has no part in it.
// When no node suits them all, the oldest Services prevail and the others report
// that they have no node in common with these (ADR 0016).
//
// It is the verdict as if no other address were there. Among several, Ownership shares
// them out.
func (v *View) Decide(address netip.Addr, sharers []Sharer) Verdict {
	return v.decideWithout(elect.Nobody, address, sharers)
}

// decideWithout is Decide if a node's speaker were gone.
func (v *View) decideWithout(gone int, address netip.Addr, sharers []Sharer) Verdict {
	c := v.examineWithout(gone, address, sharers)
	owner, ok := v.nodes.Owner(elect.KeyOf(c.key), c.candidates)
	if !ok {
		owner = elect.Nobody
	}
	return v.conclude(&c, owner)
}

// examination is what is known about an address before its owner is.
type examination struct {
	election
	// key is what the owner is elected by: see electionKey.
	key netip.Addr
	// age is when the oldest Service on the address was created.
	age int64
	// decisions lack the owner.
	decisions []Decision
}

func (v *View) examine(address netip.Addr, sharers []Sharer) examination {
	return v.examineWithout(elect.Nobody, address, sharers)
}

func (v *View) examineWithout(gone int, address netip.Addr, sharers []Sharer) examination {
	sharers = oldestFirst(sharers)
	c := examination{key: electionKey(address, sharers), decisions: make([]Decision, len(sharers))}
	c.gone = gone
	for i := range sharers {
		d := &c.decisions[i]
		*d = Decision{Service: sharers[i].Service.Name, Address: address, Protocol: Layer2}
		d.Reason = v.admit(&c.election, address, &sharers[i])
	}
	if len(sharers) > 0 {
		c.age = sharers[0].Service.Created.Unix()
	}
	v.prefer(&c.election, address)
	return c
}

// conclude returns the verdict if that node owns the address. It keeps the decisions.
func (v *View) conclude(c *examination, owner int) Verdict {
	verdict := Verdict{Decisions: c.decisions}
	if owner == elect.Nobody {
		return verdict
	}
	verdict.Owner = v.nodes.Name(owner)
	verdict.Interfaces = v.interfacesOn(owner, c.advertisements)
	reason := v.reasonHere(&verdict)
	verdict.Announce = reason == lb.ReasonAnnounced
	for i := range verdict.Decisions {
		if d := &verdict.Decisions[i]; d.Reason == lb.ReasonAnnounced {
			d.Owner, d.Interfaces, d.Reason = verdict.Owner, verdict.Interfaces, reason
		}
	}
	return verdict
}

// oldestFirst returns the sharers in the order in which they prevail.
func oldestFirst(sharers []Sharer) []Sharer {
	if len(sharers) < 2 {
		return sharers
	}
	sorted := slices.Clone(sharers)
	slices.SortFunc(sorted, func(a, b Sharer) int {
		return cmp.Or(
			a.Service.Created.Compare(b.Service.Created),
			cmp.Compare(a.Service.Name.Namespace, b.Service.Name.Namespace),
			cmp.Compare(a.Service.Name.Name, b.Service.Name.Name),
		)
	})
	return sorted
}

// electionKey returns the key of the address's election: the lowest address, IPv4
// before IPv6, among all addresses of the Services that hold this one.
//
// It puts both families of a dual-stack Service on one node: each of its addresses
// has the same lowest neighbour. It is the same for all who share the address,
// because it belongs to the address. And it depends on nothing but the Services on
// the address, so that deciding needs no look at others, at a price: in a chain
// (S holds a and x, T holds b and x, with a < b) the key of b is b itself although T
// also holds x, whose key is a. T's two addresses may then be on two nodes, which
// costs nothing but the nicety.
//
// Services without anything to announce count too: an endpoint that comes or goes
// must not move the address of another Service.
func electionKey(address netip.Addr, sharers []Sharer) netip.Addr {
	lowest := address
	for i := range sharers {
		for _, a := range sharers[i].Service.Addresses {
			if a.Less(lowest) {
				lowest = a
			}
		}
	}
	return lowest
}

// election is what the Services on an address have in common so far.
type election struct {
	// candidates suit every Service admitted. Nil before the first.
	candidates elect.Set
	// advertisements of the Services admitted, ascending and unique.
	advertisements []int
	// gone is a node that is left out, or Nobody.
	gone int
}

// admit narrows the election to the nodes that suit one more Service. It returns
// ReasonAnnounced if the Service takes part, or why it does not, and then leaves the
// election as it was.
func (v *View) admit(e *election, address netip.Addr, s *Sharer) lb.Reason {
	pool, ok := v.pools.of(address, s.Service.PoolOf(address))
	if !ok {
		return lb.ReasonOutsidePools
	}
	ads := v.covering(pool, s.Service)
	if len(ads) == 0 {
		return lb.ReasonNoAdvertisement
	}
	if !s.Endpoints.Any() {
		return lb.ReasonNoEndpoints
	}
	suitable := v.suitable(ads, s)
	if e.gone != elect.Nobody {
		suitable.Remove(e.gone)
	}
	if e.candidates == nil {
		if suitable.Empty() {
			return lb.ReasonNoCandidate
		}
		e.candidates, e.advertisements = suitable, ads
		return lb.ReasonAnnounced
	}
	if suitable.Empty() {
		return lb.ReasonNoCandidate
	}
	if !suitable.Overlaps(e.candidates) {
		return lb.ReasonNoCommonNode
	}
	e.candidates.Intersect(suitable)
	e.advertisements = union(e.advertisements, ads)
	return lb.ReasonAnnounced
}

// covering returns the advertisements of the pool that cover the Service. The
// result may be shared and must not be modified.
func (v *View) covering(p pool, s *lb.Service) []int {
	refused := func(ad int) bool { return !v.advertisements[ad].covers(s.Labels) }
	if !slices.ContainsFunc(p.advertisements, refused) {
		return p.advertisements
	}
	return slices.DeleteFunc(slices.Clone(p.advertisements), refused)
}

// suitable returns the candidates that one of the advertisements selects and, for
// externalTrafficPolicy Local, that have an endpoint.
func (v *View) suitable(ads []int, s *Sharer) elect.Set {
	selected := v.nodes.None()
	for _, ad := range ads {
		selected.Union(v.advertisements[ad].nodes)
	}
	if !s.Service.Local {
		return selected
	}
	local := v.nodes.None()
	for name := range s.Endpoints.Nodes {
		if i, ok := v.nodes.Index(name); ok && selected.Has(i) {
			local.Add(i)
		}
	}
	return local
}

// prefer reduces the candidates to those on the subnet of the address, if any are: the
// others announce it where nobody looks for it. Of these it leaves those with the highest
// sum of weights. An advertisement has a say about the nodes that it selects, and no
// others.
func (v *View) prefer(e *election, address netip.Addr) {
	if near := v.subnets.nodesNear(address); near.Overlaps(e.candidates) {
		e.candidates.Intersect(near)
	}
	var scores []int32
	for _, ad := range e.advertisements {
		for _, w := range v.advertisements[ad].weights {
			if scores == nil {
				scores = make([]int32, v.nodes.Len())
			}
			scores[w.node] += w.weight
		}
	}
	if scores == nil {
		return
	}
	best := int32(0)
	for i := range e.candidates.All() {
		best = max(best, scores[i])
	}
	for i := range e.candidates.All() {
		if scores[i] < best {
			e.candidates.Remove(i)
		}
	}
}

// interfacesOn returns the union of the interfaces of the advertisements that
// select the owner; nil, meaning all, if one of them names none.
func (v *View) interfacesOn(owner int, ads []int) []string {
	var names []string
	for _, ad := range ads {
		a := &v.advertisements[ad]
		switch {
		case !a.nodes.Has(owner):
		case a.interfaces == nil:
			return nil
		default:
			names = union(names, a.interfaces)
		}
	}
	return names
}

// reasonHere says what the election means for this node. On the owner it narrows the
// interfaces down to those that exist, unless none does.
func (v *View) reasonHere(verdict *Verdict) lb.Reason {
	if verdict.Owner != v.self {
		return lb.ReasonNotOwner
	}
	if verdict.Interfaces == nil || v.interfaces == nil {
		return lb.ReasonAnnounced
	}
	absent := func(name string) bool { _, ok := v.interfaces[name]; return !ok }
	if !slices.ContainsFunc(verdict.Interfaces, absent) {
		return lb.ReasonAnnounced
	}
	present := slices.DeleteFunc(slices.Clone(verdict.Interfaces), absent)
	if len(present) == 0 {
		return lb.ReasonNoInterface
	}
	verdict.Interfaces = present
	return lb.ReasonAnnounced
}

// union merges two ascending slices without repetition. It never modifies them and
// may return one of them.
func union[T cmp.Ordered](a, b []T) []T {
	if len(a) == 0 || slices.Equal(a, b) {
		return b
	}
	merged := slices.Concat(a, b)
	slices.Sort(merged)
	return slices.Compact(merged)
}
