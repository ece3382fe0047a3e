// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// A Sieve tells frames about the addresses of a set from those about others, in a
// form that the kernel's packet filter can hold: a sparse bitmap, written as a
// program. It passes all addresses of the set. As long as these lie in at most
// sieveBlocks blocks of 32, which covers pools of 16 000 addresses in a row however
// they are spread over the nodes, it passes no others; a larger set is hashed into a
// bitmap of that size, and of the others a part passes that is about the number of
// addresses over that of bits. It is immutable. Nil passes all.
type Sieve struct {
	// An address's place is its key times factor, shifted right.
	factor uint32
	shift  uint8
	blocks []block // by number
}

// block is 32 neighboring places of which at least one is taken.
type block struct {
	number uint32
	taken  uint32
}

const (
	// sieveBlocks bounds the program: a block takes a little over three instructions,
	// an ARP filter looks up two addresses, and classic BPF has room for 4096
	// instructions.
	sieveBlocks = 512
	// sieveFactor spreads keys, which in practice follow each other, over all places
	// (Fibonacci hashing). The upper bits of the product are the good ones.
	sieveFactor = 0x9e3779b1
)

// newSieve returns the sieve of addresses.
func newSieve(addresses iter.Seq[netip.Addr]) *Sieve {
	keys := func(yield func(uint32) bool) {
		for a := range addresses {
			if !yield(sieveKey(a)) {
				return
			}
		}
	}
	if s := sift(keys, 1, 0); len(s.blocks) <= sieveBlocks {
		return s
	}
	return hashed(keys, sieveBlocks)
}

// hashed returns a sieve of at most the given number of blocks, a power of two.
func hashed(keys iter.Seq[uint32], blocks int) *Sieve {
	places := blocks * 32
	return sift(keys, sieveFactor, uint8(32-bits.TrailingZeros(uint(places))))
}

// sift returns the sieve of keys whose places are found by factor and shift.
func sift(keys iter.Seq[uint32], factor uint32, shift uint8) *Sieve {
	s := &Sieve{factor: factor, shift: shift}
	taken := make(map[uint32]uint32)
	for key := range keys {
		number, bit := s.place(key)
		taken[number] |= 1 << bit
	}
	s.blocks = make([]block, 0, len(taken))
	for number, bits := range taken {
		s.blocks = append(s.blocks, block{number, bits})
	}
	slices.SortFunc(s.blocks, func(a, b block) int { return cmp.Compare(a.number, b.number) })
	return s
}

// Passes says whether the sieve lets an address through.
func (s *Sieve) Passes(a netip.Addr) bool {
	if s == nil {
		return true
	}
	number, bit := s.place(sieveKey(a))
	i, found := slices.BinarySearchFunc(s.blocks, number, func(b block, n uint32) int { return cmp.Compare(b.number, n) })
	return found && s.blocks[i].taken>>bit&1 != 0
}

// sieveKey is what a filter can load of an address at once: its last four bytes.
func sieveKey(a netip.Addr) uint32 {
	b := a.As16()
	return uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
}

// place is where a key has its bit.
func (s *Sieve) place(key uint32) (number, bit uint32) {
	place := key * s.factor >> s.shift
	return place / 32, place % 32
}

// places are all that are taken.
func (s *Sieve) places(yield func(uint32) bool) {
	for _, b := range s.blocks {
		for taken := b.taken; taken != 0; taken &= taken - 1 {
			if !yield(b.number*32 + uint32(bits.TrailingZeros32(taken))) {
				return
			}
		}
	}
}

// coarser returns a sieve that needs less room and passes more; nil if there is none.
func (s *Sieve) coarser() *Sieve {
	if len(s.blocks) <= 1 {
		return nil
	}
	half := 1 << (bits.Len(uint(len(s.blocks))-1) - 1)
	if s.factor == 1 { // places are keys
		return hashed(s.places, half)
	}
	for shift := s.shift + 1; ; shift++ { // drops lower bits of each place
		c := &Sieve{factor: s.factor, shift: shift}
		coarse := sift(func(yield func(uint32) bool) {
			s.places(func(place uint32) bool { return yield(place >> (shift - s.shift)) })
		}, 1, 0)
		if c.blocks = coarse.blocks; len(c.blocks) <= half {
			return c
		}
	}
}

const (
	// toVerdict is, in a program not yet resolved, a jump to where the block in A is
	// held against the mask in X, and toEnd one past the program. No program is long
	// enough for such jumps.
	toVerdict = math.MaxUint32
	toEnd     = math.MaxUint32 - 1
	// chain is how many blocks are compared one after the other.
	chain = 8
	// Where the program keeps what it needs twice.
	scratchPlace = 0
	scratchMask  = 1
)

// program looks up the key in register A. It passes the frame, or goes on with what
// follows the program. BPF has no memory to index, so the blocks are constants at the
// leaves of a tree of comparisons.
func (s *Sieve) program() []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: s.factor},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: uint32(s.shift)},
		bpf.StoreScratch{Src: bpf.RegA, N: scratchPlace},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 31},
		bpf.TAX{},
		bpf.LoadConstant{Dst: bpf.RegA, Val: 1},
		bpf.ALUOpX{Op: bpf.ALUOpShiftLeft},
		bpf.StoreScratch{Src: bpf.RegA, N: scratchMask},
		bpf.LoadScratch{Dst: bpf.RegX, N: scratchMask},
		bpf.LoadScratch{Dst: bpf.RegA, N: scratchPlace},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 5},
	}
	p = append(p, branch(s.blocks)...)
	verdict := len(p)
	p = append(p,
		bpf.ALUOpX{Op: bpf.ALUOpAnd},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: snapLen},
	)
	for i, instruction := range p {
		switch instruction {
		case bpf.Jump{Skip: toVerdict}:
			p[i] = bpf.Jump{Skip: uint32(verdict - i - 1)}
		case bpf.Jump{Skip: toEnd}:
			p[i] = bpf.Jump{Skip: uint32(len(p) - i - 1)}
		}
	}
	return p
}

// branch finds the block whose number is in A among the given ones, and goes to the
// end if it is not there.
func branch(blocks []block) []bpf.Instruction {
	var p []bpf.Instruction
	if len(blocks) <= chain {
		for _, b := range blocks {
			p = append(p,
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: b.number, SkipFalse: 2},
				bpf.LoadConstant{Dst: bpf.RegA, Val: b.taken},
				bpf.Jump{Skip: toVerdict})
		}
		return append(p, bpf.Jump{Skip: toEnd})
	}
	half := len(blocks) / 2
	middle := blocks[half].number
	left, right := branch(blocks[:half]), branch(blocks[half:])
	if len(left) <= math.MaxUint8 {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: middle, SkipTrue: uint8(len(left))})
	} else { // further than a condition can jump
		p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: middle, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(left))})
	}
	return append(append(p, left...), right...)
}
