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
	for _, word := range [...]uint64{r.boot, r.complete} {
		for range 8 {
			h = (h ^ word&0xff) * prime
			word >>= 8
		}
	}
	return h
}
