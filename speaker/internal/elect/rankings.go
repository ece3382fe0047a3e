// SPDX-License-Identifier: Apache-2.0

package elect

import "net/netip"

// remembered is how many candidates Rankings keeps of each ranking. An address that is
// refused by more is rare.
const remembered = 4

// Rankings remembers the beginnings of rankings, which cost a look at every node. A node
// that ceases to be a candidate changes none of them: those behind it move up.
// What it remembers has no influence on what it returns. It is not safe for concurrent use.
type Rankings struct {
	nodes *Nodes
	all   Set
	known map[netip.Addr][remembered]int32
}

// NewRankings returns the rankings of nodes.
func NewRankings(nodes *Nodes) *Rankings {
	r := &Rankings{nodes: nodes, all: nodes.None(), known: make(map[netip.Addr][remembered]int32)}
	for i := range nodes.Len() {
		r.all.Add(i)
	}
	return r
}

// Nodes returns what is ranked.
func (r *Rankings) Nodes() *Nodes { return r.nodes }

// Forget frees what is remembered about an address.
func (r *Rankings) Forget(a netip.Addr) { delete(r.known, a) }

// choice returns the candidate that has n others before it in the ranking for a.
func (r *Rankings) choice(a netip.Addr, candidates Set, n int) int {
	first, ok := r.known[a]
	if !ok {
		first = r.rank(a)
		r.known[a] = first
	}
	skip := n
	for _, node := range first {
		if node == Nobody || !candidates.Has(int(node)) {
			continue
		}
		if skip == 0 {
			return int(node)
		}
		skip--
	}
	return r.nodes.Rank(nil, KeyOf(a), candidates, n+1)[n]
}

// Next returns the candidate after those that skip says to leave out, or Nobody. It
// looks no further than what is remembered.
func (r *Rankings) Next(a netip.Addr, candidates Set, skip func(node int) bool) int {
	first, ok := r.known[a]
	if !ok {
		first = r.rank(a)
	}
	for _, node := range first {
		if node != Nobody && candidates.Has(int(node)) && !skip(int(node)) {
			return int(node)
		}
	}
	return Nobody
}

func (r *Rankings) rank(a netip.Addr) [remembered]int32 {
	var room [remembered]int
	first := [remembered]int32{Nobody, Nobody, Nobody, Nobody}
	for i, node := range r.nodes.Rank(room[:0], KeyOf(a), r.all, remembered) {
		first[i] = int32(node) // nodes of a cluster fit
	}
	return first
}
