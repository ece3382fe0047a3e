// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"testing"
)

// When a pool is deleted, those with its addresses move once, to another pool, and an
// Event says from where, to where, and why.
func TestPoolDeleted(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		doomed := s.givenPool(f)
		names := []string{"a", "b", "c"}
		for _, name := range names {
			s.givenService(name, f)
			s.expectAssigned(name, doomed)
		}
		refuge := s.givenPools(f)[0]
		s.deletePool(doomed)
		for i, name := range names { // the oldest first; of the same second by name
			s.expectAddresses(name, refuge.addrs(i))
			s.expectTakenBack(name, join(doomed.addrs(i)), doomed.name, "no pool contains",
				join(refuge.addrs(i)), refuge.name)
			s.expectEvents(name, "ClearAssignment", 1)
			s.expectEvents(name, "IPAllocated", 2)
			s.expectAssigned(name, refuge)
		}
	})
}

// When all pools are deleted nobody keeps an address. When one comes back everybody has
// one again.
func TestAllPoolsDeleted(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		pools := []*pool{s.givenPool(f, of(1)), s.givenPool(f, of(1))}
		for i := range pools {
			name := fmt.Sprintf("web-%d", i)
			s.givenService(name, f)
			s.await(patience, name+" to have an address", func() error {
				if n := len(addressesOf(s.service(name))); n != f.size() {
					return fmt.Errorf("it has %d", n)
				}
				return nil
			})
		}
		for _, p := range pools {
			s.deletePool(p)
		}
		for i := range pools {
			name := fmt.Sprintf("web-%d", i)
			s.expectDenied(name, "NoPool", "IPAddressPool")
			s.expectTakenBack(name, "no pool contains", "nothing replaces it")
			if from := s.service(name).Annotations["metallb.io/ip-allocated-from-pool"]; from != "" {
				s.Errorf("%s is still annotated as allocated from %s", name, from)
			}
		}
		p := s.givenPool(f)
		s.expectAddresses("web-0", p.addrs(0))
		s.expectAddresses("web-1", p.addrs(1))
	})
}

// A pool that shrinks moves those whose addresses it gives up, each once, and says from
// where, to where and why. The others stay, also when the pool widens again.
func TestPoolShrunkAndWidened(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(2))
		for i, name := range []string{"stays", "moves"} {
			s.givenService(name, f)
			s.expectAddresses(name, p.addrs(i))
		}
		refuge := s.givenPools(f)[0]
		changes := s.watchAddresses(map[string][]netip.Addr{"stays": p.addrs(0)})

		p.addresses = p.ranges(1)
		s.applyPool(p)
		s.expectAddresses("moves", refuge.addrs(0))
		s.expectTakenBack("moves", join(p.addrs(1))+" from pool "+p.name, "no pool contains "+p.addrs(1)[0].String(),
			"the Service now has "+join(refuge.addrs(0))+" from pool "+refuge.name)
		p.addresses = p.ranges(4)
		s.applyPool(p)
		s.givenService("new", f, fromPool(p))
		s.expectAddresses("new", p.addrs(1))
		s.expectAddresses("moves", refuge.addrs(0))
		s.expectEvents("moves", "ClearAssignment", 1)
		if seen := changes(); len(seen) > 0 {
			s.Errorf("addresses changed: %v", seen)
		}
	})
}

// Of two pools with the same addresses, the younger serves what the older leaves. When the
// older is gone its addresses are the younger's, and nobody moves.
func TestOverlappingPoolServesWhatIsLeft(t *testing.T) {
	s := begin(t)
	older := s.givenPool(ipv4, of(2))
	s.expectAccepted(older)
	s.awaitNextSecond() // creation times are in seconds
	younger := s.givenPool(ipv4, func(p *pool) { p.v4, p.size, p.addresses = older.v4, 3, older.ranges(3) })
	s.expectCondition(younger, older.name)
	for i, from := range []*pool{older, older, younger} {
		name := fmt.Sprintf("web-%d", i)
		s.givenService(name, ipv4, asking(older.addrs(i)))
		s.expectFrom(name, older.addrs(i), from.name)
	}
	s.givenService("late", ipv4)
	s.expectDenied("late", "PoolFull", older.name+" (2 IPv4)", younger.name+" (1 IPv4)")

	s.deletePool(older)
	s.expectAccepted(younger)
	for i := range 3 {
		name := fmt.Sprintf("web-%d", i)
		s.expectFrom(name, older.addrs(i), younger.name)
		s.expectEvents(name, "ClearAssignment", 0)
	}
}

// A pool that is pinned to others takes its addresses back, and says by which rule.
func TestPoolPinnedLater(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4)
	s.givenService("labelled", ipv4, labelled("lb", "public"))
	s.expectAddresses("labelled", p.addrs(0))
	s.givenService("plain", ipv4)
	s.expectAddresses("plain", p.addrs(1))
	refuge := s.givenPools(ipv4)[0]

	p.allocation = "{namespaces: [" + s.ns + "], serviceSelectors: [{matchLabels: {lb: public}}]}"
	s.applyPool(p)
	s.expectAddresses("plain", refuge.addrs(0))
	s.expectTakenBack("plain", join(p.addrs(1)), p.name, "serviceSelectors (lb in (public))", refuge.name)
	p.allocation = "{namespaces: [elsewhere]}"
	s.applyPool(p)
	s.expectAddresses("labelled", refuge.addrs(1))
	s.expectTakenBack("labelled", join(p.addrs(0)), "namespace "+s.ns+" is not one of its namespaces (elsewhere)")
	s.expectEvents("plain", "ClearAssignment", 1)
}

// A pool that others replace under other names keeps every address where it was: what
// counts is that a pool contains it, not which.
func TestPoolRenamedAndSplit(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, of(2))
	for i, name := range []string{"a", "b"} {
		s.givenService(name, ipv4)
		s.expectAddresses(name, p.addrs(i))
	}
	half := func(first int) *pool {
		made := s.givenPool(ipv4, func(q *pool) {
			q.v4, q.size = add(p.v4, first), 1
			q.addresses = q.ranges(1)
		})
		s.expectCondition(made, p.name) // it has to wait for what the older pool has
		return made
	}
	halves := []*pool{half(0), half(1)}
	s.deletePool(p)
	for i, name := range []string{"a", "b"} {
		s.await(patience, name+" to be annotated with its new pool", func() error {
			if from := s.service(name).Annotations["metallb.io/ip-allocated-from-pool"]; from != halves[i].name {
				return fmt.Errorf("it is from %s", from)
			}
			return nil
		})
		s.expectAddresses(name, p.addrs(i))
		s.expectEvents(name, "ClearAssignment", 0)
		s.expectEvents(name, "IPAllocated", 1)
	}
}
