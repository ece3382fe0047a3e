// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/google/btree"

	"github.com/herald-lb/herald/internal/lb"
)

// position is where an address lies in a pool: in which range, and there. Addresses
// are given in ascending order of positions.
type position struct {
	order int
	addr  netip.Addr
}

func (p position) less(q position) bool {
	if p.order != q.order {
		return p.order < q.order
	}
	return p.addr.Less(q.addr)
}

// span is a maximal run of free addresses within one range. Its ends are usable.
type span struct {
	order       int
	first, last netip.Addr
}

func (s span) contains(p position) bool {
	return s.order == p.order && s.first.Compare(p.addr) <= 0 && p.addr.Compare(s.last) <= 0
}

// space is the free space of one family in one pool.
//
// Addresses that avoidBuggyIPs excludes are no part of it. They are stepped over
// by next and previous, never listed: two addresses with only excluded ones
// between them are neighbours.
type space struct {
	spans      *btree.BTreeG[span]
	avoidBuggy bool
	// capacity is the number of usable addresses, free or not, saturating at
	// math.MaxInt64.
	capacity int64
}

// degree of the B-trees: large enough to be shallow, small enough to shift cheaply.
const degree = 16

func newSpace(avoidBuggy bool) *space {
	less := func(a, b span) bool { return position{a.order, a.first}.less(position{b.order, b.first}) }
	return &space{spans: btree.NewG(degree, less), avoidBuggy: avoidBuggy}
}

// add makes the range at that index of the pool part of s, all of it free.
func (s *space) add(order int, r lb.Range) {
	first, last := r.First(), r.Last()
	if !s.usable(first) {
		first = s.next(first)
	}
	if !s.usable(last) {
		last = s.previous(last)
	}
	trimmed, ok := lb.MakeRange(first, last)
	if !ok {
		return // nothing but excluded addresses
	}
	s.spans.ReplaceOrInsert(span{order, first, last})
	n := trimmed.Size()
	if s.avoidBuggy {
		n -= buggy(trimmed)
	}
	s.capacity += min(n, math.MaxInt64-s.capacity)
}

// first returns the first free address.
func (s *space) first() (position, bool) {
	lowest, ok := s.spans.Min()
	return position{lowest.order, lowest.first}, ok
}

// free reports whether the address at p, which must be usable, is free.
func (s *space) free(p position) bool {
	sp, ok := s.atOrBefore(p)
	return ok && sp.contains(p)
}

// take makes the address at p used. It must be free.
func (s *space) take(p position) {
	sp, ok := s.atOrBefore(p)
	if !ok || !sp.contains(p) {
		panic("ipam: take " + p.addr.String() + ", which is not free")
	}
	s.spans.Delete(sp)
	if sp.first != p.addr {
		s.spans.ReplaceOrInsert(span{sp.order, sp.first, s.previous(p.addr)})
	}
	if sp.last != p.addr {
		s.spans.ReplaceOrInsert(span{sp.order, s.next(p.addr), sp.last})
	}
}

// release makes the address at p free. It must be used.
func (s *space) release(p position) {
	sp := span{p.order, p.addr, p.addr}
	if before, ok := s.atOrBefore(p); ok && before.order == p.order {
		if before.contains(p) {
			panic("ipam: release " + p.addr.String() + ", which is free")
		}
		if s.next(before.last) == p.addr {
			s.spans.Delete(before)
			sp.first = before.first
		}
	}
	if after, ok := s.after(p); ok && after.order == p.order && s.next(p.addr) == after.first {
		s.spans.Delete(after)
		sp.last = after.last
	}
	s.spans.ReplaceOrInsert(sp)
}

// atOrBefore returns the last span that starts at p or before it.
func (s *space) atOrBefore(p position) (found span, ok bool) {
	s.spans.DescendLessOrEqual(span{order: p.order, first: p.addr}, func(sp span) bool {
		found, ok = sp, true
		return false
	})
	return found, ok
}

// after returns the first span that starts at p or after it.
func (s *space) after(p position) (found span, ok bool) {
	s.spans.AscendGreaterOrEqual(span{order: p.order, first: p.addr}, func(sp span) bool {
		found, ok = sp, true
		return false
	})
	return found, ok
}

// usable reports whether an address of the pool's ranges may be given at all.
func (s *space) usable(a netip.Addr) bool { return !s.avoidBuggy || !isBuggy(a) }

// next returns the usable address after a, or the zero Addr after the last one.
func (s *space) next(a netip.Addr) netip.Addr {
	for a = a.Next(); a.IsValid() && !s.usable(a); {
		a = a.Next()
	}
	return a
}

// previous returns the usable address before a, or the zero Addr before the first.
func (s *space) previous(a netip.Addr) netip.Addr {
	for a = a.Prev(); a.IsValid() && !s.usable(a); {
		a = a.Prev()
	}
	return a
}

// isBuggy reports whether a is one of the IPv4 addresses that some routers take
// for the broadcast address of a /24.
func isBuggy(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	last := a.As4()[3]
	return last == 0 || last == 255
}

// buggy returns how many addresses of r are buggy, without looking at each.
func buggy(r lb.Range) int64 {
	if r.Family() != lb.IPv4 {
		return 0
	}
	first, last := r.First().As4(), r.Last().As4()
	f, l := int64(binary.BigEndian.Uint32(first[:])), int64(binary.BigEndian.Uint32(last[:]))
	zeros := l/256 - (f+255)/256 + 1
	ones := (l+1)/256 - f/256
	return zeros + ones
}
