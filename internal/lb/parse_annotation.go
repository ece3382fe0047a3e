// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta1"
)

// Annotations that refusals name, for packages that see no objects.
const (
	AnnotationAllowLocalSharing = v1beta1.AnnotationAllowLocalSharing
	AnnotationDualStackFrom     = v1beta1.AnnotationDualStackFrom
	DualStackFromAnyPools       = v1beta1.DualStackFromAnyPools
)

// annotation is the value of an annotation and the key it was found under. Both are
// empty when the Service does not have it.
type annotation struct{ key, value string }

// field returns the path of the annotation.
func (a annotation) field() string { return "metadata.annotations[" + a.key + "]" }

// annotation returns the annotation named key, or else the one named deprecated, which
// is a problem that costs nothing: it is told and works all the same.
func (p *serviceParser) annotation(key, deprecated string) annotation {
	value, ok := p.object.Annotations[key]
	old, oldPresent := p.object.Annotations[deprecated]
	if oldPresent {
		advice := "use " + key + " instead"
		if ok {
			advice = key + " is used in its place; remove the deprecated one"
		}
		p.report.note(ReasonDeprecated, annotation{key: deprecated}.field(), "annotation %s is deprecated; %s", deprecated, advice)
	}
	switch {
	case ok:
		return annotation{key, value}
	case oldPresent:
		return annotation{deprecated, old}
	}
	return annotation{}
}

// choice reports whether an annotation of ours has the value that opts in, rather than
// the default.
func (p *serviceParser) choice(key, standard, optIn string) bool {
	value, ok := p.object.Annotations[key]
	if ok && value != standard && value != optIn {
		p.reject(annotation{key: key}.field(), "%q is neither %q nor %q; use one of them, or remove the annotation", value, optIn, standard)
	}
	return value == optIn
}

// allocatedFrom returns the pool of the Service's addresses. Old releases of MetalLB
// wrote it under the deprecated prefix. Users never write it, so they are not told.
func allocatedFrom(s *corev1.Service) string {
	if pool, ok := s.Annotations[v1beta1.AnnotationAllocatedFromPool]; ok {
		return pool
	}
	return s.Annotations[v1beta1.DeprecatedAnnotationPrefix+"ip-allocated-from-pool"]
}

// requested returns the addresses that the Service asks for, in the order in which it
// does. It returns nil when it asks for none, or not in a way that can be met.
func (p *serviceParser) requested(families []Family, policy corev1.IPFamilyPolicy) []netip.Addr {
	wish := p.annotation(v1beta1.AnnotationLoadBalancerIPs, v1beta1.DeprecatedAnnotationLoadBalancerIPs)
	legacy := p.object.Spec.LoadBalancerIP
	switch {
	case wish.value != "" && legacy != "":
		p.reject(wish.field(), "addresses are requested by %s and by spec.loadBalancerIP; remove spec.loadBalancerIP", wish.key)
		return nil
	case wish.value != "":
		addresses, err := parseAddresses(wish.value)
		if err != nil {
			p.reject(wish.field(), "%v", err)
			return nil
		}
		return p.fitting(wish.field(), addresses, families, policy)
	case legacy != "":
		a, err := parseRequested(legacy)
		if err != nil {
			p.reject("spec.loadBalancerIP", "%v", err)
			return nil
		}
		return p.fitting("spec.loadBalancerIP", []netip.Addr{a}, families, policy)
	}
	return nil
}

// fitting returns the addresses if the Service can have them by its families.
func (p *serviceParser) fitting(field string, addresses []netip.Addr, families []Family, policy corev1.IPFamilyPolicy) []netip.Addr {
	if len(families) == 0 {
		return nil // Rejected already.
	}
	for _, a := range addresses {
		if !slices.Contains(families, FamilyOf(a)) {
			p.reject(field, "%s is an %s address, but the Service is %s only; "+
				"request an %s address, or change spec.ipFamilyPolicy and spec.ipFamilies", a, FamilyOf(a), families[0], families[0])
			return nil
		}
	}
	if policy == corev1.IPFamilyPolicyRequireDualStack && len(addresses) < len(families) {
		p.reject(field, "only an %s address is requested, but spec.ipFamilyPolicy is RequireDualStack; "+
			"request one address of each family with annotation %s, separated by a comma", FamilyOf(addresses[0]), v1beta1.AnnotationLoadBalancerIPs)
		return nil
	}
	return addresses
}

// parseAddresses reads one address, or two of different families, separated by commas.
func parseAddresses(list string) ([]netip.Addr, error) {
	parts := strings.Split(list, ",")
	if len(parts) > 2 {
		return nil, fmt.Errorf("%q has %d addresses; request one, or one of each family", list, len(parts))
	}
	addresses := make([]netip.Addr, 0, len(parts))
	for _, part := range parts {
		a, err := parseRequested(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, a)
	}
	if len(addresses) == 2 && addresses[0].Is4() == addresses[1].Is4() {
		return nil, fmt.Errorf("%q has two %s addresses; request one, or one of each family", list, FamilyOf(addresses[0]))
	}
	return addresses, nil
}

// parseRequested reads one requested address. IPv4-mapped IPv6 is taken for IPv4.
func parseRequested(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address; write one such as 192.0.2.10 or 2001:db8::10", s)
	}
	if a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q has a zone; write the address without %%%s", s, a.Zone())
	}
	return a.Unmap(), nil
}
