// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// family is what a Service can be: of IPv4, of IPv6, or of both.
type family struct {
	name   string
	v4, v6 bool
}

var (
	ipv4 = family{name: "ipv4", v4: true}
	ipv6 = family{name: "ipv6", v6: true}
	dual = family{name: "dual", v4: true, v6: true}
)

// eachFamily tells the story for IPv4, IPv6 and both.
func eachFamily(t *testing.T, tell func(s *story, f family)) {
	t.Helper()
	for _, f := range []family{ipv4, ipv6, dual} {
		t.Run(f.name, func(t *testing.T) { tell(begin(t), f) })
	}
}

// of returns the addresses of the family, IPv4 first.
func (f family) of(v4, v6 netip.Addr) []netip.Addr {
	var addrs []netip.Addr
	if f.v4 {
		addrs = append(addrs, v4)
	}
	if f.v6 {
		addrs = append(addrs, v6)
	}
	return addrs
}

// size is how many addresses a Service of the family has.
func (f family) size() int { return len(f.of(netip.Addr{}, netip.Addr{})) }

// ask makes a Service one of the family.
func (f family) ask(service *corev1.Service) {
	policy := corev1.IPFamilyPolicySingleStack
	if f.v4 {
		service.Spec.IPFamilies = append(service.Spec.IPFamilies, corev1.IPv4Protocol)
	}
	if f.v6 {
		service.Spec.IPFamilies = append(service.Spec.IPFamilies, corev1.IPv6Protocol)
	}
	if f.v4 && f.v6 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	service.Spec.IPFamilyPolicy = &policy
}
