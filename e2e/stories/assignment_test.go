// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAssignedAndReachable(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		s.givenPods(s.nodes...)
		s.givenService("web", f)

		addrs := s.expectAssigned("web", p)
		s.expectReachable(addrs)
		for _, addr := range addrs {
			owner := s.expectAnnounced(addr)
			if seen := s.clientSees(addr); seen != owner {
				s.Errorf("%s is announced by %s, but the client's neighbour table has %q", addr, owner, seen)
			}
		}
	})
}

func TestRequestedAddress(t *testing.T) {
	ways := []struct {
		name     string
		families []family
		ask      func(addrs []netip.Addr) serviceOption
	}{
		{"annotation", []family{ipv4, ipv6, dual}, func(addrs []netip.Addr) serviceOption {
			return annotated("metallb.io/loadBalancerIPs", join(addrs))
		}},
		{"deprecated-annotation", []family{ipv4, ipv6, dual}, func(addrs []netip.Addr) serviceOption {
			return annotated("metallb.universe.tf/loadBalancerIPs", join(addrs))
		}},
		{"field", []family{ipv4, ipv6}, func(addrs []netip.Addr) serviceOption {
			return func(service *corev1.Service) { service.Spec.LoadBalancerIP = addrs[0].String() }
		}},
	}
	for _, way := range ways {
		for _, f := range way.families {
			t.Run(way.name+"/"+f.name, func(t *testing.T) {
				s := begin(t)
				p := s.givenPool(f)
				s.givenPods(s.nodes...)
				want := p.addrs(5)
				s.givenService("web", f, way.ask(want))

				s.expectAddresses("web", want)
				s.expectReachable(want)
				if way.name == "deprecated-annotation" {
					s.expectEvents("web", "deprecatedAnnotation", 1)
				}
			})
		}
	}
}

func join(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, addr := range addrs {
		words[i] = addr.String()
	}
	return strings.Join(words, ",")
}

// A request that cannot be met is refused with its reason, and met when it can be.
func TestRefusedRequest(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4)
	wanted, elsewhere := p.addrs(3), newPool(ipv4).addrs(0)
	s.givenService("holder", ipv4, annotated("metallb.io/loadBalancerIPs", join(wanted)))
	s.expectAddresses("holder", wanted)

	s.givenService("rival", ipv4, annotated("metallb.io/loadBalancerIPs", join(wanted)))
	s.givenService("stray", ipv4, annotated("metallb.io/loadBalancerIPs", join(elsewhere)))
	s.givenService("babbler", ipv4, annotated("metallb.io/loadBalancerIPs", "an address"))

	s.expectWaiting("rival", "AllocationFailed", join(wanted))
	s.expectWaiting("stray", "AllocationFailed", join(elsewhere))
	s.expectWaiting("babbler", "LoadBalancerFailed", "an address")

	s.deleteService("holder")
	s.expectAddresses("rival", wanted)
}

func TestPoolByRange(t *testing.T) {
	eachFamily(t, func(s *story, f family) { s.expectFilledInOrder(f, s.givenPool(f, of(3))) })
}

func TestPoolByPrefix(t *testing.T) {
	eachFamily(t, func(s *story, f family) { s.expectFilledInOrder(f, s.givenPool(f, asPrefixes)) })
}

// expectFilledInOrder gives out all addresses of a pool, the first one first, has one
// Service too many wait, and serves it when another one goes.
func (s *story) expectFilledInOrder(f family, p *pool) {
	s.Helper()
	for i := range p.size {
		name := fmt.Sprintf("web-%d", i)
		s.givenService(name, f)
		s.expectAddresses(name, p.addrs(i))
	}
	s.givenService("late", f)
	s.expectWaiting("late", "AllocationFailed", "")
	s.deleteService("web-1")
	s.expectAddresses("late", p.addrs(1))
}

func TestAddressPoolAnnotation(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		reserved := s.givenPool(f, notAutomatic)
		public := s.givenPool(f)
		s.givenPods(s.nodes...)
		s.givenService("anyone", f)
		s.givenService("guest", f, fromPool(reserved))

		s.expectReachable(s.expectAssigned("anyone", public))
		s.expectReachable(s.expectAssigned("guest", reserved))
	})
}

// With nothing but a pool that is not for everyone, a Service waits, and says so.
func TestAutoAssignFalse(t *testing.T) {
	s := begin(t)
	s.givenPool(ipv4, notAutomatic)
	s.givenService("anyone", ipv4)
	s.expectWaiting("anyone", "AllocationFailed", "")
}

func TestServiceTypeChanged(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(1))
		s.givenPods(s.nodes...)
		s.givenService("first", f)
		addrs := s.expectAssigned("first", p)
		s.givenService("second", f)
		s.expectWaiting("second", "AllocationFailed", "")

		s.patchService("first", `{"spec":{"type":"ClusterIP","externalTrafficPolicy":null}}`)

		s.expectReleased("first")
		s.expectAddresses("second", addrs)
		s.expectReachable(addrs)
	})
}

func TestDeleteAndReuse(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(1))
		s.givenPods(s.nodes...)
		s.givenService("first", f)
		addrs := s.expectAssigned("first", p)
		s.expectReachable(addrs)

		s.deleteService("first")
		for _, addr := range addrs {
			s.expectSilence(addr)
		}

		s.givenService("second", f)
		s.expectAddresses("second", addrs)
		s.expectReachable(addrs)
	})
}

// A pool that grows, or shrinks without losing an address in use, changes nothing for
// those who have one; a pool that goes takes its addresses with it.
func TestPoolEditedAndDeleted(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(2))
		s.givenPods(s.nodes...)
		s.givenService("a", f)
		s.expectAddresses("a", p.addrs(0))
		s.givenService("b", f)
		s.expectAddresses("b", p.addrs(1))
		s.givenService("c", f)
		s.expectWaiting("c", "AllocationFailed", "")

		p.addresses = p.ranges(4)
		s.applyPool(p)
		s.expectAddresses("c", p.addrs(2))
		p.addresses = p.ranges(3)
		s.applyPool(p)

		other := s.givenPool(f)
		s.deletePool(p)
		for _, name := range []string{"a", "b", "c"} {
			s.await(patience, name+" to move to the other pool", func() error {
				addrs := addressesOf(s.service(name))
				if len(addrs) != f.size() || !other.contains(addrs[0]) {
					return fmt.Errorf("it has %v", addrs)
				}
				return nil
			})
			s.expectReachable(s.expectAssigned(name, other))
		}
	})
}

func TestClassMismatch(t *testing.T) {
	s := begin(t)
	s.givenPool(ipv4)
	s.givenService("foreign", ipv4, ofClass("example.com/other"))
	s.expectUntouched("foreign")
}
