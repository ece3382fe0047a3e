// SPDX-License-Identifier: Apache-2.0

package elect

import (
	"iter"
	"math/bits"
)

// Set is a set of nodes, by their index in Nodes: one bit each. Sets that are
// combined must belong to the same Nodes. The zero value is an empty set that
// nothing can be added to.
type Set []uint64

// Add puts the node with that index into s.
func (s Set) Add(index int) { s[index>>6] |= 1 << (index & 63) }

// Remove takes the node with that index out of s.
func (s Set) Remove(index int) { s[index>>6] &^= 1 << (index & 63) }

// Has reports whether the node with that index is in s.
func (s Set) Has(index int) bool {
	return index>>6 < len(s) && s[index>>6]>>(index&63)&1 == 1
}

// Empty reports whether s has no node.
func (s Set) Empty() bool {
	for _, word := range s {
		if word != 0 {
			return false
		}
	}
	return true
}

// Len counts the nodes in s.
func (s Set) Len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// All yields the indexes in s in ascending order.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for w, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(w<<6 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// Union adds the nodes of o to s.
func (s Set) Union(o Set) {
	for w, word := range o {
		s[w] |= word
	}
}

// Intersect removes from s the nodes that are not in o.
func (s Set) Intersect(o Set) {
	for w := range s {
		s[w] &= o[w]
	}
}

// Overlaps reports whether s and o have a node in common.
func (s Set) Overlaps(o Set) bool {
	for w := range min(len(s), len(o)) { // either may be the zero value
		if s[w]&o[w] != 0 {
			return true
		}
	}
	return false
}

// Hash returns a number that equal sets of the same Nodes have in common.
func (s Set) Hash() uint64 {
	h := uint64(fnvOffset)
	for _, word := range s {
		h = (h ^ mix(word)) * fnvPrime
	}
	return h
}
