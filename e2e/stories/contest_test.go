// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"net/netip"
	"testing"
)

// givenSquatter gives the client addresses out of a pool, as somebody does who
// configures a printer.
func (s *story) givenSquatter(addrs []netip.Addr) {
	s.Helper()
	for _, addr := range addrs {
		address := netip.PrefixFrom(addr, addr.BitLen()).String()
		_, err := s.client.Exec(s.ctx, "ip", "address", "add", address, "dev", lanLink, "nodad")
		s.must(err)
		s.Cleanup(func() {
			if _, err := s.client.Exec(context.WithoutCancel(s.ctx), "ip", "address", "delete", address, "dev", lanLink); err != nil {
				s.Errorf("remove the squatter: %v", err)
			}
		})
	}
}

// Whoever has an address already is found before it is announced, and named.
func TestSquatterIsNamed(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		taken, free := s.givenPool(f, of(1)), s.givenPool(f, of(1))
		squatted := taken.addrs(0)
		s.givenPods(s.nodes...)
		s.givenSquatter(squatted)
		s.givenService("free", f, fromPool(free))
		s.givenService("taken", f, fromPool(taken))
		s.expectAssigned("taken", taken)
		mac, err := s.client.MAC(lanLink)
		s.must(err)
		for _, addr := range squatted {
			s.expectEvent("taken", "AddressContested", addr.String()+" is also used by the station "+mac.String())
		}
		s.expectReachable(s.expectAssigned("free", free))
		s.expectEvents("free", "AddressContested", 0)
	})
}
