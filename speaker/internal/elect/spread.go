// SPDX-License-Identifier: Apache-2.0

package elect

import (
	"cmp"
	"net/netip"
	"slices"
)

// Spread shares addresses out among equal candidates so that none owns more than its
// limit, 1.25 times the mean, rounded up. Each address goes to the first candidate of its
// ranking that has room; when a candidate is wanted by more than it may have, the
// addresses that are claimed prevail, then the older ones.
//
// That is the one stable matching of addresses and places (Gale and Shapley 1962; it is
// unique because all candidates rank addresses alike). It follows from what is in the
// Spread, not from the order in which it came or went; what came or went costs the
// addresses that move, and no look at the others.
//
// A Spread is not safe for concurrent use.
type Spread struct {
	rankings   *Rankings
	candidates Set
	count      int
	limit      int

	items  map[netip.Addr]*item
	places map[int]*place
	// waiting are the items without a place.
	waiting []*item
	// vacant are places that somebody has left whom they had refused others for.
	vacant map[*place]struct{}
	// before has the owners of all items touched since the last Settle.
	before map[netip.Addr]int
}

// Terms are what else counts about an address.
type Terms struct {
	// Age orders addresses: the lower, the older. Equal ages are ordered by address.
	Age int64
	// Claimant is the candidate that has the address whatever its limit, or Nobody.
	Claimant int
}

// Nobody is no node.
const Nobody = -1

// item is an address in a Spread.
type item struct {
	address netip.Addr
	terms   Terms
	place   *place
	// at is the index in the place's items.
	at int
	// refused is how many candidates of the ranking have had no room.
	refused int
}

// place is a candidate with the items that it owns, and those it has refused because
// they were outranked.
type place struct {
	node    int
	items   []*item
	refused []*item
	// loose counts those items that are not claimed.
	loose int
}

// NewSpread returns an empty spread over the candidates, of which there must be one at
// least. It keeps both arguments.
func NewSpread(r *Rankings, candidates Set) *Spread {
	return &Spread{
		rankings: r, candidates: candidates, count: candidates.Len(),
		items: make(map[netip.Addr]*item), places: make(map[int]*place),
		vacant: make(map[*place]struct{}), before: make(map[netip.Addr]int),
	}
}

// Lose takes a candidate out, which must not be the last, also out of the Set that the
// Spread was made with. It costs the addresses that the candidate owns or has refused. It
// counts from the next Settle on.
func (s *Spread) Lose(node int) {
	if !s.candidates.Has(node) {
		return
	}
	s.candidates.Remove(node)
	s.count--
	for _, x := range s.waiting {
		if x.terms.Claimant == node {
			x.terms.Claimant = Nobody
		}
	}
	p, ok := s.places[node]
	if !ok {
		return
	}
	delete(s.places, node)
	delete(s.vacant, p)
	for _, x := range p.refused {
		x.refused-- // this one is no candidate before its place any more
	}
	for _, x := range p.items {
		s.touch(x)
		x.place, x.terms.Claimant = nil, Nobody
		s.waiting = append(s.waiting, x)
	}
}

// Len counts the addresses.
func (s *Spread) Len() int { return len(s.items) }

// Put adds an address, or changes its terms. It counts from the next Settle on.
func (s *Spread) Put(a netip.Addr, t Terms) {
	if t.Claimant != Nobody && !s.candidates.Has(t.Claimant) {
		t.Claimant = Nobody
	}
	x, ok := s.items[a]
	if ok && x.terms == t {
		return
	}
	if ok {
		s.Remove(a)
	}
	x = &item{address: a, terms: t}
	s.items[a] = x
	s.waiting = append(s.waiting, x)
	s.touch(x)
}

// Remove takes an address away. It counts from the next Settle on.
func (s *Spread) Remove(a netip.Addr) {
	x, ok := s.items[a]
	if !ok {
		return
	}
	s.touch(x)
	delete(s.items, a)
	if x.place == nil {
		s.waiting = slices.DeleteFunc(s.waiting, func(y *item) bool { return x == y })
	} else {
		s.vacate(x)
	}
	s.withdraw(x, 0)
}

// Owner returns the candidate that owns the address since the last Settle.
func (s *Spread) Owner(a netip.Addr) (int, bool) {
	x, ok := s.items[a]
	if !ok || x.place == nil {
		return Nobody, false
	}
	return x.place.node, true
}

// HasRoom reports whether a candidate could own one more address.
func (s *Spread) HasRoom(node int) bool {
	p, ok := s.places[node]
	return !ok || len(p.items) < s.limit
}

// Settle finds a place for every address, and passes each one that has another owner
// than before, or had none, to moved, in no particular order.
func (s *Spread) Settle(moved func(netip.Addr)) {
	s.resize()
	// First those move up that had to stand back, then those without a place propose. In
	// this order a place with room has refused nobody when somebody proposes to it.
	for len(s.vacant) > 0 {
		for p := range s.vacant {
			delete(s.vacant, p)
			s.fill(p)
		}
	}
	for len(s.waiting) > 0 {
		x := s.waiting[len(s.waiting)-1]
		s.waiting = s.waiting[:len(s.waiting)-1]
		s.propose(x)
	}
	for a, before := range s.before {
		if now, ok := s.Owner(a); ok && now != before {
			moved(a)
		}
	}
	s.before = make(map[netip.Addr]int) // to clear one that was large would cost as much again each time
}

// Limit returns how many of so many addresses one of so many candidates may own: 1.25
// times the mean, rounded up.
func Limit(addresses, candidates int) int {
	return (5*addresses + 4*candidates - 1) / (4 * candidates)
}

// resize adapts the limit to the number of addresses.
func (s *Spread) resize() {
	was := s.limit
	s.limit = Limit(len(s.items), s.count)
	if s.limit == was {
		return
	}
	for _, p := range s.places {
		if s.limit > was && len(p.refused) > 0 {
			s.vacant[p] = struct{}{}
		}
		s.shrink(p)
	}
}

// fill moves those up that the place has refused, as long as there is room.
func (s *Spread) fill(p *place) {
	for len(p.items) < s.limit && len(p.refused) > 0 {
		first := slices.MinFunc(p.refused, (*item).compare)
		s.touch(first)
		if first.place != nil {
			s.vacate(first)
		} else {
			s.waiting = slices.DeleteFunc(s.waiting, func(x *item) bool { return x == first })
		}
		s.withdraw(first, s.standing(first, p))
		p.take(first)
	}
}

// propose finds a place for an item that has none. An item that it outranks there waits
// in its stead.
func (s *Spread) propose(x *item) {
	for {
		p := s.next(x)
		if x.terms.Claimant != Nobody || len(p.items) < s.limit {
			s.touch(x)
			p.take(x)
			s.shrink(p)
			return
		}
		if last := p.last(); x.compare(last) < 0 {
			s.touch(x)
			s.refuse(p, last)
			p.take(x)
			return
		}
		p.refused = append(p.refused, x)
		x.refused++
	}
}

// shrink has a place give up what it has above its limit, but for what is claimed.
func (s *Spread) shrink(p *place) {
	for len(p.items) > s.limit && p.loose > 0 {
		s.refuse(p, p.last())
	}
}

// next returns the place that an item is to propose to.
func (s *Spread) next(x *item) *place {
	if x.terms.Claimant != Nobody {
		return s.placeOf(x.terms.Claimant)
	}
	return s.placeOf(s.rankings.choice(x.address, s.candidates, x.refused))
}

// standing returns how many candidates an item prefers to the place.
func (s *Spread) standing(x *item, p *place) int {
	for i := range x.refused {
		if s.rankings.choice(x.address, s.candidates, i) == p.node {
			return i
		}
	}
	return x.refused
}

func (s *Spread) placeOf(node int) *place {
	p, ok := s.places[node]
	if !ok {
		p = &place{node: node}
		s.places[node] = p
	}
	return p
}

// refuse takes an item's place away, which is remembered there.
func (s *Spread) refuse(p *place, x *item) {
	s.touch(x)
	p.drop(x)
	p.refused = append(p.refused, x)
	x.refused++
	s.waiting = append(s.waiting, x)
}

// vacate has an item leave its place to others.
func (s *Spread) vacate(x *item) {
	p := x.place
	p.drop(x)
	if len(p.refused) > 0 {
		s.vacant[p] = struct{}{}
	}
}

// withdraw takes back what an item has proposed to all but the best candidates.
func (s *Spread) withdraw(x *item, best int) {
	for i := best; i < x.refused; i++ {
		p := s.placeOf(s.rankings.choice(x.address, s.candidates, i))
		p.refused = slices.DeleteFunc(p.refused, func(y *item) bool { return x == y })
	}
	x.refused = best
}

func (s *Spread) touch(x *item) {
	if _, ok := s.before[x.address]; ok {
		return
	}
	owner := Nobody
	if x.place != nil {
		owner = x.place.node
	}
	s.before[x.address] = owner
}

// compare orders items by rank: claimed ones, then the oldest.
func (x *item) compare(y *item) int {
	if a, b := x.terms.Claimant != Nobody, y.terms.Claimant != Nobody; a != b {
		if a {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(x.terms.Age, y.terms.Age), x.address.Compare(y.address))
}

// last returns the item of the lowest rank.
func (p *place) last() *item { return slices.MaxFunc(p.items, (*item).compare) }

func (p *place) take(x *item) {
	x.place, x.at = p, len(p.items)
	p.items = append(p.items, x)
	if x.terms.Claimant == Nobody {
		p.loose++
	}
}

func (p *place) drop(x *item) {
	end := len(p.items) - 1
	p.items[x.at] = p.items[end]
	p.items[x.at].at = x.at
	p.items[end] = nil
	p.items = p.items[:end]
	if x.terms.Claimant == Nobody {
		p.loose--
	}
	x.place = nil
}
