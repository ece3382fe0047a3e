// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// fromAnyPools opts in to a dual-stack pair from two pools.
func fromAnyPools(service *corev1.Service) {
	annotated("herald-lb.io/dual-stack-from", "any-pools")(service)
}

// expectFrom waits until the Service has the addresses, and says which pools they are from.
func (s *story) expectFrom(name string, want []netip.Addr, pools string) {
	s.Helper()
	s.expectAddresses(name, want)
	s.await(patience, fmt.Sprintf("%s to be annotated with %s", name, pools), func() error {
		if from := s.service(name).Annotations["metallb.io/ip-allocated-from-pool"]; from != pools {
			return fmt.Errorf("it is from %s", from)
		}
		return nil
	})
}

// Who agrees to it has its two addresses from two pools, if no pool has both, and both
// are announced. They stay when a pool with both comes, and over restarts; who does not
// agree is told that it could.
func TestPairFromTwoPools(t *testing.T) {
	s := begin(t)
	four, six := s.givenPool(ipv4, of(4)), s.givenPool(ipv6, of(4))
	s.givenPods(s.nodes...)
	s.givenService("strict", dual)
	s.expectDenied("strict", "FamilyMissing", four.name, six.name, "herald-lb.io/dual-stack-from", "any-pools")
	s.givenService("web", dual, fromAnyPools)
	pair := []netip.Addr{four.v4, six.v6}
	s.expectFrom("web", pair, four.name+","+six.name)
	s.expectReachable(pair)
	s.expectCounts(four, 1, 3)
	s.expectCounts(six, 1, 3)
	s.givenService("prefers", ipv4, preferring(corev1.IPv6Protocol), fromAnyPools)
	s.expectFrom("prefers", []netip.Addr{add(four.v4, 1), add(six.v6, 1)}, four.name+","+six.name)

	changes := s.watchAddresses(map[string][]netip.Addr{"web": pair})
	both := s.givenPool(dual)
	s.expectAddresses("strict", both.addrs(0))
	s.givenService("late", dual, fromAnyPools)
	s.expectFrom("late", both.addrs(1), both.name)
	s.restart("deployment/controller")
	s.canary()
	if seen := changes(); len(seen) > 0 {
		s.Errorf("addresses changed: %v", seen)
	}
	s.expectEvents("web", "IPAllocated", 1)
	s.expectEvents("web", "ClearAssignment", 0)
}

// Of a pair from two pools, only the address is replaced whose pool has gone. The second
// one of a Service that prefers both may come later, from another pool.
func TestPairFromTwoPoolsEdited(t *testing.T) {
	s := begin(t)
	four := s.givenPool(ipv4)
	s.expectAccepted(four)
	s.givenService("web", ipv4, preferring(), fromAnyPools)
	s.expectAddresses("web", four.addrs(0))
	s.expectLacking("web", "IPv6")
	six := s.givenPool(ipv6)
	s.expectFrom("web", []netip.Addr{four.v4, six.v6}, four.name+","+six.name)
	s.expectEvent("web", "IPAllocated", "additional")

	other := s.givenPools(ipv6)[0]
	s.deletePool(six)
	s.expectFrom("web", []netip.Addr{four.v4, other.v6}, four.name+","+other.name)
	s.expectTakenBack("web", six.v6.String()+" from pool "+six.name, "no pool contains",
		four.v4.String()+" from pool "+four.name+" and "+other.v6.String()+" from pool "+other.name)
	s.expectEvents("web", "ClearAssignment", 1)
}

// Requested addresses may lie in two pools for those who agree to it.
func TestRequestedFromTwoPools(t *testing.T) {
	s := begin(t)
	four, six := s.givenPool(ipv4), s.givenPool(ipv6)
	wanted := []netip.Addr{add(six.v6, 3), add(four.v4, 2)}
	s.givenService("web", dual, asking(wanted))
	s.expectDenied("web", "OutsidePools", four.name, six.name, "any-pools")
	s.patchService("web", `{"metadata":{"annotations":{"herald-lb.io/dual-stack-from":"any-pools"}}}`)
	s.expectFrom("web", wanted, six.name+","+four.name)
	s.patchService("web", `{"metadata":{"annotations":{"herald-lb.io/dual-stack-from":null}}}`)
	s.canary()
	s.expectFrom("web", wanted, six.name+","+four.name)
	if events := s.eventsFor("web", "ClearAssignment"); len(slices.Compact(events)) > 0 {
		s.Errorf("addresses that are given are given, but: %v", events)
	}
}
