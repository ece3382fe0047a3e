// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// A statement about changes fits into a datagram.
const (
	claimsInStatement  = 48
	homesInStatement   = 2
	subnetsInStatement = 32
)

// Board is what is known of all speakers, this one included. It is not safe for
// concurrent use.
type Board struct {
	self    lb.NodeName
	records map[lb.NodeName]*record
	// claimants have one of those who claim each address, and rivals the others, if there
	// are any.
	claimants map[netip.Addr]*record
	rivals    map[netip.Addr][]*record
	// print is the sum of the prints of all records.
	print uint64
	// term is the latest that has been heard of: see the package's documentation.
	term uint32
	// homes are the nodes that addresses are held for.
	homes names
	// former are the homes of addresses that nobody claims since their claimant has
	// started anew.
	former map[netip.Addr]index
}

// record is what one speaker has said.
type record struct {
	node lb.NodeName
	boot uint64
	// complete is the number up to which everything has been heard, and beyond are those
	// heard above it.
	complete uint64
	beyond   map[uint64]struct{}

	subnets    []netip.Prefix
	subnetsSeq uint64
	// claims include released ones above complete, lest an older word revive them.
	claims map[netip.Addr]entry
	// released are those of claims that are.
	released map[netip.Addr]struct{}
}

// entry is the last word on a claim, and its number.
type entry struct {
	seq      uint64
	epoch    uint32
	home     index // 0: the claimant
	released bool
}

// NewBoard returns the board of the speaker on that node. Boot must be greater than at its
// last start.
func NewBoard(self lb.NodeName, boot uint64) *Board {
	b := &Board{
		self: self, records: make(map[lb.NodeName]*record), term: firstTerm, former: make(map[netip.Addr]index),
		claimants: make(map[netip.Addr]*record), rivals: make(map[netip.Addr][]*record),
	}
	b.records[self] = newRecord(self, boot)
	b.print = b.records[self].print(self)
	return b
}

func newRecord(node lb.NodeName, boot uint64) *record {
	return &record{
		node: node, boot: boot, beyond: make(map[uint64]struct{}),
		claims: make(map[netip.Addr]entry), released: make(map[netip.Addr]struct{}),
	}
}

// News is what a statement has changed.
type News struct {
	// Fresh says that the statement had not been heard before: others may not have, either.
	Fresh bool
	// Subnets says that those of a node have.
	Subnets bool
	// Addresses are those that are claimed otherwise than before, with repetitions.
	Addresses []netip.Addr
}

// Hear takes note of a statement. What this speaker is said to have said is ignored: it
// knows.
func (b *Board) Hear(s Statement) News {
	b.print -= b.records[s.Node].print(s.Node)
	news := b.hear(s)
	b.print += b.records[s.Node].print(s.Node)
	return news
}

func (b *Board) hear(s Statement) News {
	var news News
	b.term = max(b.term, s.Term)
	r := b.records[s.Node]
	switch {
	case s.Node == b.self || r != nil && s.Boot < r.boot:
		return news
	case r == nil || s.Boot > r.boot:
		b.remember(s.Node)
		b.forget(s.Node, &news)
		r = newRecord(s.Node, s.Boot)
		b.records[s.Node] = r
	}
	if s.Whole && s.Seq >= r.complete {
		b.replace(r, s, &news)
	} else if !s.Whole && !r.heard(s.Seq) {
		news.Fresh = true
		b.amend(r, s, &news)
	}
	return news
}

// heard reports whether the statement with that number has been heard before.
func (r *record) heard(seq uint64) bool {
	_, ok := r.beyond[seq]
	return ok || seq <= r.complete
}

// replace takes a whole statement in. What was said after it stays.
func (b *Board) replace(r *record, s Statement, news *News) {
	mentioned := make(map[netip.Addr]struct{}, len(s.Claims))
	for _, c := range s.Claims {
		mentioned[c.Address] = struct{}{}
		b.set(r, c, s.Seq, news)
	}
	for a, e := range r.claims {
		if _, ok := mentioned[a]; !ok && e.seq <= s.Seq {
			b.set(r, Claim{Address: a, Released: true}, s.Seq, news)
		}
	}
	r.setSubnets(s, news)
	r.complete = s.Seq
	r.advance()
}

func (b *Board) amend(r *record, s Statement, news *News) {
	for _, c := range s.Claims {
		b.set(r, c, s.Seq, news)
	}
	if s.About {
		r.setSubnets(s, news)
	}
	r.beyond[s.Seq] = struct{}{}
	r.advance()
}

func (r *record) setSubnets(s Statement, news *News) {
	if s.Seq < r.subnetsSeq {
		return
	}
	if !slices.Equal(r.subnets, s.Subnets) {
		r.subnets, news.Subnets = s.Subnets, true
	}
	r.subnetsSeq = s.Seq
}

// advance moves complete up, and forgets what is behind it.
func (r *record) advance() {
	for seq := range r.beyond {
		if seq <= r.complete {
			delete(r.beyond, seq)
		}
	}
	for {
		if _, ok := r.beyond[r.complete+1]; !ok {
			break
		}
		r.complete++
		delete(r.beyond, r.complete)
	}
	for a := range r.released {
		if r.claims[a].seq <= r.complete {
			delete(r.claims, a)
			delete(r.released, a)
		}
	}
}

// set replaces the word on a claim by a later one.
func (b *Board) set(r *record, c Claim, seq uint64, news *News) {
	old, ok := r.claims[c.Address]
	if ok && old.seq > seq {
		return
	}
	now := entry{seq: seq, epoch: c.Epoch, home: b.homes.index(c.Home), released: c.Released}
	b.term = max(b.term, c.Epoch)
	r.claims[c.Address] = now
	delete(r.released, c.Address)
	if now.released {
		r.released[c.Address] = struct{}{}
	}
	claimed := ok && !old.released
	if claimed == !now.released && (now.released || old.epoch == now.epoch && old.home == now.home) {
		return
	}
	news.Addresses = append(news.Addresses, c.Address)
	switch {
	case now.released:
		b.unlist(c.Address, r)
	case !claimed:
		b.list(c.Address, r)
		delete(b.former, c.Address)
	}
}

// list makes a node one of those who claim an address.
func (b *Board) list(a netip.Addr, r *record) {
	if b.claimants[a] == nil {
		b.claimants[a] = r
	} else {
		b.rivals[a] = append(b.rivals[a], r)
	}
}

func (b *Board) unlist(a netip.Addr, r *record) {
	rivals := b.rivals[a]
	switch {
	case b.claimants[a] != r:
		rivals = slices.DeleteFunc(rivals, func(x *record) bool { return x == r })
	case len(rivals) == 0:
		delete(b.claimants, a)
		return
	default:
		b.claimants[a], rivals = rivals[0], slices.Clone(rivals[1:])
	}
	if len(rivals) == 0 {
		delete(b.rivals, a)
	} else {
		b.rivals[a] = rivals
	}
}

// Keep forgets all speakers but those on these nodes and this one.
func (b *Board) Keep(nodes map[lb.NodeName]struct{}) News {
	var news News
	for node := range b.records {
		if _, ok := nodes[node]; !ok && node != b.self {
			b.print -= b.records[node].print(node)
			b.forget(node, &news)
		}
	}
	return news
}

// remember takes note whom addresses were held for that a node has claimed, and nobody
// else: whoever takes one over holds it for the same.
func (b *Board) remember(node lb.NodeName) {
	r, ok := b.records[node]
	if !ok {
		return
	}
	for a, e := range r.claims {
		if home := e.home; !e.released && len(b.rivals[a]) == 0 {
			if home == 0 {
				home = b.homes.index(node)
			}
			b.former[a] = home
		}
	}
}

func (b *Board) forget(node lb.NodeName, news *News) {
	r, ok := b.records[node]
	if !ok {
		return
	}
	delete(b.records, node)
	news.Subnets = news.Subnets || len(r.subnets) > 0
	for a, e := range r.claims {
		if !e.released {
			b.unlist(a, r)
			news.Addresses = append(news.Addresses, a)
		}
	}
}

// Subnets returns those of each node that has said so, which must not be modified.
func (b *Board) Subnets() map[lb.NodeName][]netip.Prefix {
	subnets := make(map[lb.NodeName][]netip.Prefix, len(b.records))
	for node, r := range b.records {
		if len(r.subnets) > 0 {
			subnets[node] = r.subnets
		}
	}
	return subnets
}

// SetSubnets says which subnets this node has; the first 32 count. It returns what to tell the others, if
// anything has changed.
func (b *Board) SetSubnets(subnets []netip.Prefix) (Statement, bool) {
	own := b.records[b.self]
	subnets = subnets[:min(len(subnets), subnetsInStatement)]
	if slices.Equal(own.subnets, subnets) {
		return Statement{}, false
	}
	own.subnets = subnets
	s := b.say()
	s.About, s.Subnets = true, subnets
	own.subnetsSeq = s.Seq
	return s, true
}

// say begins a statement of this speaker.
func (b *Board) say() Statement {
	own := b.records[b.self]
	b.print -= own.print(b.self)
	own.complete++
	b.print += own.print(b.self)
	return Statement{Node: b.self, Boot: own.boot, Seq: own.complete, Term: b.term}
}

// Everything returns what is known of everybody, in no particular order.
func (b *Board) Everything() []Statement {
	all := make([]Statement, 0, len(b.records))
	for node, r := range b.records {
		all = append(all, b.statements(node, r)...)
	}
	for i := range all {
		all[i].Term = b.term // whoever hears one of them has heard of it
	}
	return all
}

// statements returns a whole statement of what is known completely, and the others that
// have been heard.
func (b *Board) statements(node lb.NodeName, r *record) []Statement {
	bySeq := make(map[uint64]*Statement)
	at := func(seq uint64) *Statement {
		key := max(seq, r.complete) // what is complete is one statement
		if bySeq[key] == nil {
			bySeq[key] = &Statement{Node: node, Boot: r.boot, Seq: key, Whole: key == r.complete}
		}
		return bySeq[key]
	}
	at(r.complete)
	for seq := range r.beyond {
		at(seq)
	}
	s := at(r.subnetsSeq)
	s.About, s.Subnets = true, r.subnets
	for _, a := range slices.SortedFunc(maps.Keys(r.claims), netip.Addr.Compare) {
		e := r.claims[a]
		s := at(e.seq)
		s.Claims = append(s.Claims, Claim{a, b.homes.of(e.home), e.epoch, e.released})
	}
	all := make([]Statement, 0, len(bySeq))
	for _, s := range bySeq {
		all = append(all, *s)
	}
	return all
}
