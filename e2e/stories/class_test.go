// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"net/netip"
	"testing"
)

// With --lb-class the controller serves Services of that class, and no others: not even
// those without any.
func TestClassMatch(t *testing.T) {
	const class = "example.com/herald"
	s := begin(t)
	p := s.givenPool(ipv4)
	s.givenService("ours", ipv4, ofClass(class))
	s.expectUntouched("ours")

	s.givenFlag("deployment/controller", "--lb-class="+class)
	addrs := s.expectAssigned("ours", p)
	s.givenService("foreign", ipv4, ofClass("example.com/other"))
	s.givenService("classless", ipv4)
	s.givenService("later", ipv4, ofClass(class))
	s.expectAddresses("later", p.addrs(1))
	s.checkUntouched("foreign")
	s.checkUntouched("classless")
	s.expectAddresses("ours", addrs)
}

// When the controller comes to serve another class, the addresses that it gave before
// stand in the statuses of Services that are not its own any more. It gives them to nobody,
// and is told by whom they are used; when a status shows its address no more, it is free.
func TestClassChangedUnderServices(t *testing.T) {
	const class = "example.com/herald"
	s := begin(t)
	p := s.givenPool(ipv4, of(2))
	s.givenService("theirs", ipv4)
	addrs := s.expectAssigned("theirs", p)
	changes := s.watchAddresses(map[string][]netip.Addr{"theirs": addrs})

	s.givenFlag("deployment/controller", "--lb-class="+class)
	s.givenService("asking", ipv4, ofClass(class), asking(addrs))
	s.expectDenied("asking", "AddressInUse", s.ns+"/theirs", "loadBalancerClass")
	s.givenService("first", ipv4, ofClass(class))
	s.expectAddresses("first", p.addrs(1))
	s.givenService("second", ipv4, ofClass(class))
	s.expectDenied("second", "PoolFull", p.name)
	if seen := changes(); len(seen) > 0 {
		s.Errorf("addresses changed: %v", seen)
	}
	s.expectCounts(p, 2, 0)

	s.deleteService("theirs")
	s.expectAddresses("asking", addrs)
}
