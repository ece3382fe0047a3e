// SPDX-License-Identifier: Apache-2.0

package facts

import "github.com/herald-lb/herald/internal/lb"

// Fingerprint is a number that boards have in common which have heard everything of the
// same speakers up to the same statements, and that others have not, but for chance.
func (b *Board) Fingerprint() uint64 { return b.print }

// print is what a record contributes to the fingerprint; nothing if there is none.
func (r *record) print(node lb.NodeName) uint64 {
	if r == nil {
		return 0
	}
	const offset, prime = 0xcbf29ce484222325, 0x00000100000001b3 // FNV-1a, 64 bits
	h := uint64(offset)
	for i := range len(node) {
		h = (h ^ uint64(node[i])) * prime
	}
	// Prints are added up: without the mixing, that one more is known of two speakers would
	// cancel out now and then.
	return mix(mix(h^r.boot) ^ r.complete)
}

// mix is the finalizer of SplitMix64 (Stafford's variant 13).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
