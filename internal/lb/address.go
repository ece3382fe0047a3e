// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// Family is an IP address family. The zero value is no family.
type Family uint8

// The two address families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of a. IPv4-mapped IPv6 addresses do not occur in
// parsed values; they count as IPv6 here.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns the name Kubernetes uses for the family in spec.ipFamilies.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "no family"
}

// Range is a contiguous, inclusive span of addresses of one family.
// The zero value is invalid; ParseRange and MakeRange return valid ones.
type Range struct {
	first, last netip.Addr
}

// MakeRange returns the range from first to last, both included. It reports false
// when the families differ or first is greater than last.
func MakeRange(first, last netip.Addr) (Range, bool) {
	ok := first.IsValid() && last.IsValid() && first.Is4() == last.Is4() && first.Compare(last) <= 0
	if !ok {
		return Range{}, false
	}
	return Range{first, last}, true
}

// RangeOf returns the range of all addresses in p, which must be valid.
func RangeOf(p netip.Prefix) Range {
	p = p.Masked()
	b := p.Addr().As16()
	host := p.Addr().BitLen() - p.Bits()
	for i := range host {
		b[15-i/8] |= 1 << (i % 8)
	}
	last := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		last = last.Unmap()
	}
	return Range{p.Addr(), last}
}

// First returns the lowest address of r.
func (r Range) First() netip.Addr { return r.first }

// Last returns the highest address of r.
func (r Range) Last() netip.Addr { return r.last }

// Family returns the family of r's addresses.
func (r Range) Family() Family { return FamilyOf(r.first) }

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.first.BitLen() && r.first.Compare(a) <= 0 && a.Compare(r.last) <= 0
}

// Overlaps reports whether r and o have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.first.BitLen() == o.first.BitLen() && r.first.Compare(o.last) <= 0 && o.first.Compare(r.last) <= 0
}

// Size returns the number of addresses in r, saturating at math.MaxInt64: an IPv6
// /64 has more addresses than an int64 can count, and nobody will use them all.
func (r Range) Size() int64 {
	hi, lo := Distance(r.first, r.last)
	if hi != 0 || lo >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo) + 1
}

// Distance returns to-from as a 128-bit number. Both must be of one family, and
// from must not be greater than to.
func Distance(from, to netip.Addr) (hi, lo uint64) {
	f, t := from.As16(), to.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(f[8:]), 0)
	hi, _ = bits.Sub64(binary.BigEndian.Uint64(t[:8]), binary.BigEndian.Uint64(f[:8]), borrow)
	return hi, lo
}

// ShortestPrefix returns the length of the largest prefix that lies in r as a whole.
func (r Range) ShortestPrefix() int {
	bits := r.first.BitLen()
	for length := range bits {
		// The only candidates of this length begin at first, or at the next boundary.
		p := netip.PrefixFrom(r.first, length).Masked()
		if p.Addr().Less(r.first) {
			next := RangeOf(p).last.Next()
			if !next.IsValid() {
				continue
			}
			p = netip.PrefixFrom(next, length)
		}
		if r.Contains(p.Addr()) && r.Contains(RangeOf(p).last) {
			return length
		}
	}
	return bits
}

// String returns "first-last", the form IPAddressPool.spec.addresses takes.
func (r Range) String() string { return r.first.String() + "-" + r.last.String() }
