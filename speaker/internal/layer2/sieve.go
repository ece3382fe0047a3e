// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"iter"
	"math"
	"math/bits"
	"net/netip"

	"golang.org/x/net/bpf"
)

// A Sieve tells frames about the addresses of a set from most of those about
// others, in a form that the kernel's packet filter can hold: a bitmap, written as
// a program. It passes all addresses of the set, and of the others a part that is
// about the number of addresses over that of bits. It is immutable. Nil passes all.
type Sieve struct {
	words []uint32 // their number is a power of two
}

const (
	// sieveWords bounds the bitmap: as a program it takes three instructions a word,
	// and classic BPF has room for 4096 of them. With all of it in use, 3000 addresses
	// let one in eleven others through.
	sieveWords = 1024
	// sieveFactor spreads keys, which in practice follow each other, over the bitmap
	// (Fibonacci hashing). The bits are taken from the product's upper end.
	sieveFactor = 0x9e3779b1
)

// newSieve returns the sieve of n addresses. It has about 32 bits for each, as far
// as there is room.
func newSieve(n int, addresses iter.Seq[netip.Addr]) *Sieve {
	words := 1
	for words < min(n, sieveWords) {
		words *= 2
	}
	s := &Sieve{words: make([]uint32, words)}
	for a := range addresses {
		word, bit := s.place(sieveKey(a))
		s.words[word] |= 1 << bit
	}
	return s
}

// Passes says whether the sieve lets an address through.
func (s *Sieve) Passes(a netip.Addr) bool {
	if s == nil {
		return true
	}
	word, bit := s.place(sieveKey(a))
	return s.words[word]>>bit&1 != 0
}

// sieveKey is what a filter can load of an address at once: its last four bytes.
func sieveKey(a netip.Addr) uint32 {
	b := a.As16()
	return uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
}

// depth is the number of bits that choose a word.
func (s *Sieve) depth() int { return bits.TrailingZeros(uint(len(s.words))) }

// place is where a key has its bit: the word by the hash's upper bits, the bit in
// it by the next five.
func (s *Sieve) place(key uint32) (word, bit uint32) {
	h := key * sieveFactor
	return uint32(uint64(h) >> (32 - s.depth())), h >> (27 - s.depth()) & 31
}

// fold returns a sieve of half the size, which lets more through; nil below one word.
func (s *Sieve) fold() *Sieve {
	if len(s.words) == 1 {
		return nil
	}
	half := &Sieve{words: make([]uint32, len(s.words)/2)}
	for i, word := range s.words {
		for w := word; w != 0; w &= w - 1 {
			bit := (i*32 + bits.TrailingZeros32(w)) / 2
			half.words[bit/32] |= 1 << (bit % 32)
		}
	}
	return half
}

// toVerdict is, in a program not yet resolved, a jump to where the word in A is held
// against the mask in X. No program is long enough for such a jump.
const toVerdict = math.MaxUint32

// Where the program keeps what it needs twice.
const (
	scratchHash = iota
	scratchMask
)

// program looks up the key in register A, and ends by passing the frame or not.
// BPF has no memory to index, so the words are constants at the leaves of a tree
// of comparisons, which takes ten of them at most.
func (s *Sieve) program() []bpf.Instruction {
	depth := uint32(s.depth())
	p := []bpf.Instruction{
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: sieveFactor},
		bpf.StoreScratch{Src: bpf.RegA, N: scratchHash},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 27 - depth},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 31},
		bpf.TAX{},
		bpf.LoadConstant{Dst: bpf.RegA, Val: 1},
		bpf.ALUOpX{Op: bpf.ALUOpShiftLeft},
		bpf.StoreScratch{Src: bpf.RegA, N: scratchMask},
		bpf.LoadScratch{Dst: bpf.RegA, N: scratchHash},
		// By 31 and 1: a shift by 32 is none.
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 31 - depth},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 1},
		bpf.LoadScratch{Dst: bpf.RegX, N: scratchMask},
	}
	p = append(p, branch(s.words, 0)...)
	for i, instruction := range p {
		if instruction == (bpf.Jump{Skip: toVerdict}) {
			p[i] = bpf.Jump{Skip: uint32(len(p) - i - 1)}
		}
	}
	return append(p,
		bpf.ALUOpX{Op: bpf.ALUOpAnd},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: snapLen},
		bpf.RetConstant{Val: 0},
	)
}

// branch continues with the word of the index in A, which is one of the given ones,
// the first of which has the index first.
func branch(words []uint32, first uint32) []bpf.Instruction {
	if empty(words) {
		return []bpf.Instruction{bpf.RetConstant{Val: 0}}
	}
	if len(words) == 1 {
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: words[0]}, bpf.Jump{Skip: toVerdict}}
	}
	half := len(words) / 2
	middle := first + uint32(half)
	left, right := branch(words[:half], first), branch(words[half:], middle)
	var p []bpf.Instruction
	if len(left) <= 0xff {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: middle, SkipTrue: uint8(len(left))})
	} else { // further than a condition can jump
		p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: middle, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(left))})
	}
	return append(append(p, left...), right...)
}

func empty(words []uint32) bool {
	for _, w := range words {
		if w != 0 {
			return false
		}
	}
	return true
}
