// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"testing"
)

// Thirty addresses are spread over three nodes: none has more than 1.25 times its share,
// rounded up, also when one of them dies and when it is back.
func TestSpread(t *testing.T) {
	const many = 30
	s := begin(t)
	p := s.givenPool(ipv4, from(netip.MustParseAddr("192.0.2.40"), many))
	s.givenPods(s.nodes...)
	addrs := make([]netip.Addr, many)
	for i := range many {
		s.givenService(fmt.Sprintf("web-%d", i), ipv4)
	}
	for i := range many {
		addrs[i] = s.expectAssigned(fmt.Sprintf("web-%d", i), p)[0]
	}
	owners := s.expectSpread(addrs, 3, 13)

	victim := owners[addrs[0]]
	node, err := s.lab.Node(victim)
	s.must(err)
	s.afterwards(func() { s.check(node.Rejoin()) })
	s.must(node.Isolate())
	for addr, owner := range owners {
		if owner == victim {
			s.expectMoved(addr, victim)
		}
	}
	s.expectSpread(addrs, 2, 19)

	s.must(node.Rejoin())
	for addr, owner := range owners {
		s.expectAnnouncedBy(addr, owner)
	}
}

// A Service that comes or goes moves the address of no other, although what each node may
// have follows from how many there are: of these addresses a dozen would, if nobody
// remembered who has what.
func TestOthersStayWhereTheyAre(t *testing.T) {
	const many, older = 12, 6
	s := begin(t)
	p := s.givenPool(ipv4, from(netip.MustParseAddr("192.0.2.120"), many))
	s.givenPods(s.nodes...)
	owners := make(map[netip.Addr]string)
	create := func(i int) {
		s.givenService(fmt.Sprintf("web-%d", i), ipv4)
		addr := s.expectAssigned(fmt.Sprintf("web-%d", i), p)[0]
		owners[addr] = s.expectAnnounced(addr)
	}
	expectStay := func() {
		for addr, owner := range owners {
			if now := s.expectAnnounced(addr); now != owner {
				s.Errorf("%s was announced by %s, and is by %s", addr, owner, now)
			}
		}
	}
	for i := range many {
		create(i)
		expectStay()
	}
	for i := range older {
		name := fmt.Sprintf("web-%d", i)
		delete(owners, s.expectAssigned(name, p)[0])
		s.deleteService(name)
		expectStay()
	}
}

// from makes the pool hold n addresses from that one on.
func from(first netip.Addr, n int) poolOption {
	return func(p *pool) {
		p.v4, p.size = first, n
		p.addresses = p.ranges(n)
	}
}

// expectSpread waits until the addresses are announced by so many nodes, none of which
// has more than the limit, and returns who announces what.
func (s *story) expectSpread(addrs []netip.Addr, nodes, limit int) map[netip.Addr]string {
	s.Helper()
	var owners map[netip.Addr]string
	s.await(patience, fmt.Sprintf("%d nodes with %d addresses at most", nodes, limit), func() error {
		owners = make(map[netip.Addr]string)
		counts := make(map[string]int)
		for _, addr := range addrs {
			owners[addr] = s.expectAnnounced(addr)
			counts[owners[addr]]++
		}
		for _, n := range counts {
			if n > limit || len(counts) != nodes {
				return fmt.Errorf("there are %v", counts)
			}
		}
		return nil
	})
	return owners
}
