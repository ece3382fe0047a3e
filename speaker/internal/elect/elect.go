// SPDX-License-Identifier: Apache-2.0

package elect

import (
	"math/bits"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Nodes are the nodes that can take part in elections, numbered from 0 in the order
// of their names. It is immutable.
type Nodes struct {
	names []lb.NodeName
	seeds []uint64
}

// NewNodes returns the nodes with these names. Repeated names count once; the order
// of names does not matter, and names is not kept.
func NewNodes(names []lb.NodeName) *Nodes {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Clip(slices.Compact(sorted))
	seeds := make([]uint64, len(sorted))
	for i, name := range sorted {
		seeds[i] = seedOf(name)
	}
	return &Nodes{names: sorted, seeds: seeds}
}

// Len returns the number of nodes.
func (n *Nodes) Len() int { return len(n.names) }

// Name returns the name of the node with that index.
func (n *Nodes) Name(index int) lb.NodeName { return n.names[index] }

// Names returns all names, sorted. They must not be modified.
func (n *Nodes) Names() []lb.NodeName { return n.names }

// Index returns the index of the node with that name.
func (n *Nodes) Index(name lb.NodeName) (int, bool) { return slices.BinarySearch(n.names, name) }

// None returns a new empty set for these nodes.
func (n *Nodes) None() Set { return make(Set, (len(n.names)+63)/64) }

// Owner returns the index of the candidate that wins the election for key, and
// false if there is no candidate. Candidates with equal weight are ordered by name.
func (n *Nodes) Owner(key Key, candidates Set) (int, bool) {
	owner, heaviest := -1, uint64(0)
	for w, word := range candidates {
		for ; word != 0; word &= word - 1 {
			i := w<<6 + bits.TrailingZeros64(word)
			// Indexes ascend with names, so the first of equals has the lowest name.
			if x := weight(key, n.seeds[i]); x > heaviest || owner < 0 {
				owner, heaviest = i, x
			}
		}
	}
	return owner, owner >= 0
}

// Rank appends to dst the best k candidates for key, the owner first, then those
// next in line: each is the owner that would be elected without the ones before it.
// It does not allocate if dst has room.
func (n *Nodes) Rank(dst []int, key Key, candidates Set, k int) []int {
	if k <= 0 {
		return dst
	}
	start := len(dst)
	for i := range candidates.All() {
		dst = n.insert(dst, start, k, key, i)
	}
	return dst
}

// insert puts node i into the ranking dst[start:] of at most k nodes if its weight
// earns a place there.
func (n *Nodes) insert(dst []int, start, k int, key Key, i int) []int {
	x := weight(key, n.seeds[i])
	at := len(dst)
	for at > start && x > weight(key, n.seeds[dst[at-1]]) {
		at--
	}
	switch {
	case len(dst)-start < k:
		return slices.Insert(dst, at, i)
	case at < len(dst):
		copy(dst[at+1:], dst[at:])
		dst[at] = i
	}
	return dst
}
