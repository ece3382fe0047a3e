// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
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
