// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"net/netip"
	"slices"
	"testing"
)

// An address is announced by a node that is on its subnet, if one is, and follows the
// subnet from node to node.
func TestSubnetDecides(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, from(netip.MustParseAddr("198.51.100.40"), 1))
	s.givenPods(s.nodes...)
	s.givenService("web", ipv4)
	addr := s.expectAssigned("web", p)[0]
	first := s.expectAnnounced(addr) // nobody is on the subnet: anybody will do

	others := slices.DeleteFunc(slices.Clone(s.nodes), func(n string) bool { return n == first })
	for i, name := range others {
		remove := s.onSubnet(name, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}), 24))
		s.expectAnnouncedBy(addr, name)
		remove()
	}
	s.expectAnnouncedBy(addr, first)
}

// onSubnet gives a node an address of its own on a subnet, until remove is called or the
// story ends.
func (s *story) onSubnet(name string, address netip.Prefix) (remove func()) {
	s.Helper()
	node, err := s.lab.Node(name)
	s.must(err)
	_, err = node.Exec(s.ctx, "ip", "address", "add", address.String(), "dev", lanLink)
	s.must(err)
	removed := false
	remove = func() {
		if removed {
			return
		}
		removed = true
		_, err := node.Exec(s.ctx, "ip", "address", "delete", address.String(), "dev", lanLink)
		s.check(err)
	}
	s.afterwards(remove)
	return remove
}
