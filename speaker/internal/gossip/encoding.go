// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

// A statement on the wire, numbers as unsigned varints:
//
//	version 2   flags   node: length, bytes   boot   seq   term
//	subnets: count, each: length of the prefix, address
//	claims: count, each: address, epoch
//
// A statement about addresses that are held for others has version 3, and
//
//	homes: count, each: length, bytes
//	claims: count, each: address, epoch, and if it is held: index of its home
//
// An address is a byte, with the number of leading bytes that it shares with the one
// before it, and the bytes that follow these: pools are dense, and a claim takes three
// bytes of them.
const (
	wireVersion     = 2
	wireVersionHeld = 3
)

// Flags of a statement.
const (
	flagWhole = 1 << iota
	flagAbout
)

// Bits of the byte in front of an address; the lower ones are a number of bytes.
const (
	bitIPv6     = 0x80
	bitReleased = 0x40
	bitHeld     = 0x20
	maskShared  = 0x1f
)

func appendUint(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

func appendStatement(dst []byte, s facts.Statement) []byte {
	flags := byte(0)
	if s.Whole {
		flags |= flagWhole
	}
	if s.About {
		flags |= flagAbout
	}
	homes := homesOf(s.Claims)
	if len(homes) > 0 {
		dst = append(dst, wireVersionHeld, flags)
	} else {
		dst = append(dst, wireVersion, flags)
	}
	dst = appendName(dst, s.Node)
	dst = appendUint(appendUint(appendUint(dst, s.Boot), s.Seq), uint64(s.Term))
	dst = appendUint(dst, uint64(len(s.Subnets)))
	var last netip.Addr
	for _, p := range s.Subnets {
		dst = append(dst, byte(p.Bits())) // 128 at most
		dst, last = appendAddress(dst, 0, p.Addr(), last), p.Addr()
	}
	if len(homes) > 0 {
		dst = appendUint(dst, uint64(len(homes)))
		for _, h := range homes {
			dst = appendName(dst, h)
		}
	}
	return appendClaims(dst, s.Claims, homes)
}

// homesOf returns whom addresses are held for, sorted.
func homesOf(claims []facts.Claim) []lb.NodeName {
	set := make(map[lb.NodeName]struct{})
	for _, c := range claims {
		if c.Home != "" {
			set[c.Home] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func appendName(dst []byte, name lb.NodeName) []byte {
	return append(appendUint(dst, uint64(len(name))), name...)
}

func appendClaims(dst []byte, claims []facts.Claim, homes []lb.NodeName) []byte {
	dst = appendUint(dst, uint64(len(claims)))
	var last netip.Addr
	for _, c := range claims {
		bits := byte(0)
		if c.Released {
			bits = bitReleased
		}
		home, held := slices.BinarySearch(homes, c.Home)
		if held {
			bits |= bitHeld
		}
		dst, last = appendAddress(dst, bits, c.Address, last), c.Address
		dst = appendUint(dst, uint64(c.Epoch))
		if held {
			dst = appendUint(dst, uint64(home))
		}
	}
	return dst
}

// appendAddress appends an address as it differs from the one before it.
func appendAddress(dst []byte, bits byte, a, last netip.Addr) []byte {
	b, l := a.AsSlice(), last.AsSlice()
	if a.Is6() {
		bits |= bitIPv6
	}
	shared := 0
	for len(b) == len(l) && shared < len(b)-1 && b[shared] == l[shared] {
		shared++
	}
	return append(append(dst, bits|byte(shared)), b[shared:]...)
}

func parseStatement(b []byte) (facts.Statement, error) {
	r := reader{b: b}
	v := r.byte()
	if r.err == nil && v != wireVersion && v != wireVersionHeld {
		return facts.Statement{}, fmt.Errorf("version %d is not known", v)
	}
	flags := r.byte()
	s := facts.Statement{Whole: flags&flagWhole != 0, About: flags&flagAbout != 0}
	s.Node = r.name()
	s.Boot, s.Seq, s.Term = r.uint(), r.uint(), r.epoch()
	for range r.count() {
		bits := int(r.byte())
		a, _ := r.address()
		p := netip.PrefixFrom(a, bits)
		if r.err == nil && !p.IsValid() {
			r.err = fmt.Errorf("%d is no length of a prefix of %s", bits, a)
		}
		s.Subnets = append(s.Subnets, p)
	}
	var homes []lb.NodeName
	if v == wireVersionHeld {
		for range r.count() {
			homes = append(homes, r.name())
		}
	}
	s.Claims = r.claims(homes)
	if r.err == nil && (s.Node == "" || len(r.b) > 0) {
		r.err = fmt.Errorf("%d bytes follow the statement of node %q", len(r.b), s.Node)
	}
	if r.err != nil {
		return facts.Statement{}, r.err
	}
	return s, nil
}

func (r *reader) name() lb.NodeName { return lb.NodeName(r.bytes(r.uint())) }

func (r *reader) claims(homes []lb.NodeName) []facts.Claim {
	var claims []facts.Claim
	r.last = netip.Addr{}
	for range r.count() {
		a, bits := r.address()
		c := facts.Claim{Address: a, Released: bits&bitReleased != 0}
		c.Epoch = r.epoch()
		if bits&bitHeld != 0 {
			i := r.uint()
			if r.err == nil && i >= uint64(len(homes)) {
				r.err = fmt.Errorf("%s is held for node %d of %d", a, i, len(homes))
			}
			if r.err == nil {
				c.Home = homes[i]
			}
		}
		claims = append(claims, c)
	}
	return claims
}

// reader takes values off b. After an error it returns zeros.
type reader struct {
	b    []byte
	last netip.Addr
	err  error
}

func (r *reader) byte() byte {
	b := r.bytes(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (r *reader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errTruncated
	}
	if r.err != nil {
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) uint() uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.err = errTruncated
		return 0
	}
	r.b = r.b[size:]
	return n
}

// epoch reads an epoch or a term. There is room to count on from those that are taken.
func (r *reader) epoch() uint32 {
	n := r.uint()
	if r.err == nil && n > math.MaxInt32 {
		r.err = fmt.Errorf("epoch %d is too large", n)
	}
	return uint32(n & math.MaxInt32)
}

// count reads how many elements follow: no more than there are bytes.
func (r *reader) count() int {
	n := r.uint()
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errTruncated
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// address reads an address, and the bits in front of it.
func (r *reader) address() (netip.Addr, byte) {
	bits := r.byte()
	size := 4
	if bits&bitIPv6 != 0 {
		size = 16
	}
	last := r.last.AsSlice()
	shared := int(bits & maskShared)
	if r.err == nil && (shared >= size || shared > 0 && len(last) != size) {
		r.err = fmt.Errorf("an address shares %d bytes with %v", shared, r.last)
	}
	if r.err != nil {
		return netip.Addr{}, 0
	}
	rest := r.bytes(uint64(size - shared))
	if r.err != nil {
		return netip.Addr{}, 0
	}
	b := append(append(make([]byte, 0, size), last[:shared]...), rest...)
	a, _ := netip.AddrFromSlice(b) // of one of the two sizes
	r.last = a
	return a, bits
}
