// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// neighborhood is how many speakers on either side of it on the ring a speaker keeps
// sessions with. Up to twice as many others, it keeps one with each. Four are enough to
// notice a death, and to know whether it is oneself that hears nobody; each costs about
// a third of a percent of a core.
const neighborhood = 2

// neighbors returns whom to keep sessions with: of the others, those that are next to
// self on a ring, in the order of a hash of their names. Whoever is a neighbor has us for
// a neighbor, if it knows the same others.
func neighbors(self lb.NodeName, others []lb.NodeName) []lb.NodeName {
	if len(others) <= 2*neighborhood {
		return others
	}
	ring := append(slices.Clone(others), self)
	slices.SortFunc(ring, func(a, b lb.NodeName) int {
		return cmp.Or(cmp.Compare(position(a), position(b)), cmp.Compare(a, b))
	})
	at := slices.Index(ring, self)
	var near []lb.NodeName
	for i := 1; i <= neighborhood; i++ {
		near = append(near, ring[(at+i)%len(ring)], ring[(at-i+len(ring))%len(ring)])
	}
	return near
}

// position scatters names, so that the nodes of a rack, which are named alike and fail
// together, do not watch each other alone.
func position(name lb.NodeName) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	x := h.Sum64()
	return (x ^ x>>31) * 0x94d049bb133111eb
}
