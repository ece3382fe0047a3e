// SPDX-License-Identifier: Apache-2.0

package elect

import (
	"encoding/binary"
	"net/netip"
)

// Key stands for what is elected for. Equal keys with equal candidates have the
// same owner.
type Key uint64

// KeyOf returns the key of an address. Zones do not count.
func KeyOf(a netip.Addr) Key {
	b := a.As16()
	// The bit length keeps 192.0.2.1 and ::ffff:192.0.2.1 apart.
	h := mix(binary.BigEndian.Uint64(b[:8]) ^ uint64(a.BitLen()))
	return Key(mix(h ^ binary.BigEndian.Uint64(b[8:])))
}

// weight is the random weight of a node in the election for key. For one key it
// is a bijection of the seed: nodes tie only if their seeds collide.
func weight(key Key, seed uint64) uint64 { return mix(uint64(key) ^ seed) }

// FNV-1a, 64 bits.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x00000100000001b3
)

// seedOf hashes a node name. FNV alone leaves names that differ in their last byte
// close together; mix spreads them.
func seedOf[S ~string](name S) uint64 {
	h := uint64(fnvOffset)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * fnvPrime
	}
	return mix(h)
}

// mix is a bijection of 64-bit words in which every input bit changes every output
// bit with a probability close to one half: the finalizer of SplitMix64 with
// Stafford's constants (variant 13). Two multiplications make it about as cheap as
// a good mixer gets, which counts because an election runs it once per candidate.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
