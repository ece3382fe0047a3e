// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// preferring is ipFamilyPolicy: PreferDualStack with the families in this order.
func preferring(families ...corev1.IPFamily) serviceOption {
	policy := corev1.IPFamilyPolicyPreferDualStack
	return func(service *corev1.Service) {
		service.Spec.IPFamilyPolicy, service.Spec.IPFamilies = &policy, families
	}
}

// setPolicy changes the ipFamilyPolicy of a Service.
func (s *story) setPolicy(name string, policy corev1.IPFamilyPolicy) {
	s.Helper()
	s.patchService(name, `{"spec":{"ipFamilyPolicy":"`+string(policy)+`"}}`)
}

// givenPools creates pools of these families, for Services to choose among: it waits
// until the controller has taken notice of all.
func (s *story) givenPools(families ...family) []*pool {
	s.Helper()
	var made []*pool
	for _, f := range families {
		made = append(made, s.givenPool(f))
	}
	for _, p := range made {
		s.expectAccepted(p)
	}
	return made
}

// become changes which families a pool has. The addresses of each stay the same.
func (s *story) become(p *pool, f family) {
	s.Helper()
	p.family = f
	p.addresses = p.ranges(p.size)
	s.applyPool(p)
}

// A Service that prefers both families gets both from a pool that has them, even if
// others come first by name.
func TestPreferDualStackPicksDualPool(t *testing.T) {
	for _, primary := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		t.Run(string(primary), func(t *testing.T) {
			s := begin(t)
			pools := s.givenPools(ipv4, ipv6, dual, ipv4, ipv6)
			s.givenService("web", ipv4, preferring(primary))
			s.expectAddresses("web", pools[2].addrs(0))
			s.expectEvents("web", "AdditionalAssignFailed", 0)
		})
	}
}

// Without such a pool it gets an address of its primary family, which is IPv4 if it
// does not say, and of the other one if there is none of that. It is told what it lacks.
func TestPreferDualStackFallsBack(t *testing.T) {
	for _, fallback := range []struct {
		name    string
		primary []corev1.IPFamily
		pools   []family
		from    int // index of the pool
		lacking string
	}{
		{"default", nil, []family{ipv6, ipv4}, 1, "IPv6"},
		{"first-ipv4", []corev1.IPFamily{corev1.IPv4Protocol}, []family{ipv6, ipv4}, 1, "IPv6"},
		{"first-ipv6", []corev1.IPFamily{corev1.IPv6Protocol}, []family{ipv4, ipv6}, 1, "IPv4"},
		{"second-ipv4", []corev1.IPFamily{corev1.IPv6Protocol}, []family{ipv4}, 0, "IPv6"},
		{"second-ipv6", []corev1.IPFamily{corev1.IPv4Protocol}, []family{ipv6}, 0, "IPv4"},
	} {
		t.Run(fallback.name, func(t *testing.T) {
			s := begin(t)
			pools := s.givenPools(fallback.pools...)
			s.givenService("web", ipv4, preferring(fallback.primary...))
			s.expectAddresses("web", pools[fallback.from].addrs(0))
			s.expectLacking("web", fallback.lacking)
		})
	}
}

// A pool of one family that becomes dual adds the second address and keeps the first;
// a dual pool that comes later is no reason to move, or to have addresses of two pools.
func TestPoolBecomesDual(t *testing.T) {
	for _, f := range []family{ipv4, ipv6} {
		t.Run(f.name, func(t *testing.T) {
			s := begin(t)
			p := s.givenPool(f)
			s.givenService("web", ipv4, preferring())
			first := p.addrs(0)
			s.expectAddresses("web", first)

			later := s.givenPools(dual)[0]
			s.givenService("canary", ipv4, preferring())
			s.expectAddresses("canary", later.addrs(0))
			s.expectAddresses("web", first)
			s.expectLacking("web", p.name+", which the first address is from")

			s.become(p, dual)
			both := append(slices.Clone(first), others(p.addrs(0), first)...)
			s.expectAddresses("web", both)
			s.expectEvent("web", "IPAllocated", "additional")
			s.expectEvents("web", "ClearAssignment", 0)
			s.expectAddresses("canary", later.addrs(0))
		})
	}
}

// others returns those of the addresses that are not among known.
func others(addrs, known []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return slices.Contains(known, a) })
}

// A Service that comes to require both families drops the one it has when there is no
// other in the pool, and regains it when it only prefers both again.
func TestPreferAndRequireDualStack(t *testing.T) {
	for _, f := range []family{ipv4, ipv6} {
		t.Run(f.name, func(t *testing.T) {
			s := begin(t)
			p := s.givenPool(f)
			// Which families the message names depends on what other pools there are.
			missing := map[string]string{ipv4.name: "IPv6", ipv6.name: "IPv4"}[f.name]
			s.givenService("web", ipv4, preferring())
			s.expectAddresses("web", p.addrs(0))
			s.setPolicy("web", corev1.IPFamilyPolicyRequireDualStack)
			s.expectDenied("web", "FamilyMissing", missing, p.name)
			s.expectTakenBack("web", join(p.addrs(0)), p.name, "RequireDualStack")
			s.setPolicy("web", corev1.IPFamilyPolicyPreferDualStack)
			s.expectAddresses("web", p.addrs(0))

			s.setPolicy("web", corev1.IPFamilyPolicyRequireDualStack)
			s.expectDenied("web", "FamilyMissing", missing, p.name)
			s.become(p, dual)
			s.expectAddresses("web", p.addrs(0))
		})
	}
}

// A Service that gives up a family gives up its address, and keeps the other one.
func TestDualStackGivenUpAndRegained(t *testing.T) {
	s := begin(t)
	p := s.givenPool(dual)
	s.givenService("web", dual)
	s.expectAddresses("web", p.addrs(0))
	s.setPolicy("web", corev1.IPFamilyPolicySingleStack)
	s.expectAddresses("web", p.addrs(0)[:1])
	s.expectTakenBack("web", p.addrs(0)[1].String(), "no use for an IPv6 address")
	s.givenService("six", ipv6)
	s.expectAddresses("six", p.addrs(0)[1:])

	s.setPolicy("web", corev1.IPFamilyPolicyPreferDualStack)
	s.expectAddresses("web", []netip.Addr{p.addrs(0)[0], p.addrs(1)[1]})
	s.expectEvents("web", "ClearAssignment", 1)
}

// When a dual pool loses a family, Services move together with both addresses to
// another dual pool. Those who only prefer both stay with one if there is none.
func TestPoolBecomesSingle(t *testing.T) {
	for _, left := range []family{ipv4, ipv6} {
		t.Run(left.name, func(t *testing.T) {
			s := begin(t)
			shrinking := s.givenPool(dual)
			s.givenService("web", ipv4, preferring())
			s.expectAddresses("web", shrinking.addrs(0))
			before := shrinking.addrs(0)
			refuge := s.givenPools(dual)[0]

			s.become(shrinking, left)
			s.expectAddresses("web", refuge.addrs(0))
			s.expectTakenBack("web", join(before), shrinking.name, "no pool contains", join(refuge.addrs(0)), refuge.name)

			s.become(refuge, left)
			s.expectAddresses("web", refuge.addrs(0))
			lost := others([]netip.Addr{refuge.v4, refuge.v6}, refuge.addrs(0))
			s.expectTakenBack("web", join(lost), refuge.name, "no pool contains")
			s.expectLacking("web", map[family]string{ipv4: "IPv6", ipv6: "IPv4"}[left])
			s.expectEvents("web", "ClearAssignment", 2)
		})
	}
}

// Both addresses of those who require both are of one pool, or there are none.
func TestRequireDualStackFromOnePool(t *testing.T) {
	s := begin(t)
	s.givenPools(ipv4, ipv6)
	s.givenService("web", dual)
	s.expectDenied("web", "FamilyMissing", "IPv4 and IPv6")
	both := s.givenPool(dual)
	s.expectAddresses("web", both.addrs(0))
}
