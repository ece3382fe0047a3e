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
	known map[netip.Addr][remembered]int32
}

// NewRankings returns the rankings of nodes.
func NewRankings(nodes *Nodes) *Rankings {
	return &Rankings{nodes: nodes, known: make(map[netip.Addr][remembered]int32)}
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

// rank looks at every node. It is Rank for all nodes, without what that costs beyond the
// look: a speaker that starts does this for every address.
func (r *Rankings) rank(a netip.Addr) [remembered]int32 {
	var heaviest [remembered]uint64
	first := [remembered]int32{Nobody, Nobody, Nobody, Nobody}
	key := KeyOf(a)
	for i, seed := range r.nodes.seeds {
		x := weight(key, seed)
		if x <= heaviest[remembered-1] && first[remembered-1] != Nobody {
			continue
		}
		at := remembered - 1
		for at > 0 && (first[at-1] == Nobody || x > heaviest[at-1]) {
			heaviest[at], first[at] = heaviest[at-1], first[at-1]
			at--
		}
		heaviest[at], first[at] = x, int32(i) // nodes of a cluster fit
	}
	return first
}
