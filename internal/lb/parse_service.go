// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta1"
)

// ParseService reads a Service of type LoadBalancer. It does not look at the type or
// the class: the caller chooses which Services are its own.
//
// What the Service has (Addresses, AllocatedFrom) is read also when a problem is fatal,
// so that an address in use is never lost over a bad annotation. After a fatal problem
// the fields it is about are empty, and the Service must not be given anything new.
// The result shares labels with the object, which must not be modified afterwards.
func ParseService(s *corev1.Service) (Service, []Problem) {
	p := serviceParser{object: s}
	p.report.object = Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
	svc := Service{
		Name:         ServiceName{s.Namespace, s.Name},
		UID:          string(s.UID),
		Created:      s.CreationTimestamp.Time,
		Labels:       s.Labels,
		FamilyPolicy: corev1.IPFamilyPolicySingleStack,
		Local:        s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Backends:     backends(s),
		Addresses:    StatusAddresses(s),
		Class:        ClassOf(s),
	}
	if s.Spec.IPFamilyPolicy != nil {
		svc.FamilyPolicy = *s.Spec.IPFamilyPolicy
	}
	svc.Pool = p.annotation(v1beta1.AnnotationAddressPool, v1beta1.DeprecatedAnnotationAddressPool).value
	svc.SharingKey = p.annotation(v1beta1.AnnotationAllowSharedIP, v1beta1.DeprecatedAnnotationAllowSharedIP).value
	svc.LocalSharing = p.choice(v1beta1.AnnotationAllowLocalSharing, "false", "true")
	svc.AnyPools = p.choice(v1beta1.AnnotationDualStackFrom, v1beta1.DualStackFromOnePool, v1beta1.DualStackFromAnyPools)
	svc.Reserve = p.reserve()
	svc.AllocatedFrom = allocatedFrom(s)
	svc.Families = p.families(svc.FamilyPolicy)
	svc.Ports = p.ports()
	svc.Requested = p.requested(svc.Families, svc.FamilyPolicy)
	return svc, p.report.problems
}

// ClassOf returns spec.loadBalancerClass, which says whose a Service is; empty when unset.
func ClassOf(s *corev1.Service) string {
	if s.Spec.LoadBalancerClass == nil {
		return ""
	}
	return *s.Spec.LoadBalancerClass
}

// serviceParser reads the fields of a Service in which there can be mistakes.
type serviceParser struct {
	object *corev1.Service
	report report
}

func (p *serviceParser) reject(field, format string, args ...any) {
	p.report.reject(ReasonInvalidService, field, format, args...)
}

// families returns the families of the cluster IPs. A Service that has none yet, or
// never will have any, says in spec.ipFamilies which ones it wants.
func (p *serviceParser) families(policy corev1.IPFamilyPolicy) []Family {
	spec := &p.object.Spec
	families := make([]Family, 0, 2)
	for _, ip := range spec.ClusterIPs {
		if a, err := netip.ParseAddr(ip); err == nil {
			families = append(families, FamilyOf(a.Unmap()))
		}
	}
	if a, err := netip.ParseAddr(spec.ClusterIP); err == nil && len(families) == 0 {
		families = append(families, FamilyOf(a.Unmap()))
	}
	if len(families) == 0 {
		families = wantedFamilies(families, spec.IPFamilies)
	}
	switch {
	case len(families) == 0:
		p.reject("spec.clusterIPs", "there is no cluster IP and spec.ipFamilies is empty, so the family is unknown; set spec.ipFamilies")
		return nil
	case policy == corev1.IPFamilyPolicyRequireDualStack && len(families) < 2:
		p.reject("spec.clusterIPs", "spec.ipFamilyPolicy is RequireDualStack, but there is only an %s cluster IP; "+
			"use PreferDualStack, or a cluster with both families", families[0])
	}
	return families
}

func wantedFamilies(families []Family, wanted []corev1.IPFamily) []Family {
	for _, f := range wanted {
		switch f {
		case corev1.IPv4Protocol:
			families = append(families, IPv4)
		case corev1.IPv6Protocol:
			families = append(families, IPv6)
		case corev1.IPFamilyUnknown:
		}
	}
	return families
}

// ports returns the distinct ports of the Service, sorted.
func (p *serviceParser) ports() []Port {
	if len(p.object.Spec.Ports) == 0 {
		return nil
	}
	ports := make([]Port, 0, len(p.object.Spec.Ports))
	for i, port := range p.object.Spec.Ports {
		if port.Port < 1 || port.Port > math.MaxUint16 {
			p.reject("spec.ports["+strconv.Itoa(i)+"].port", "%d is not a port number; use 1 to 65535", port.Port)
			continue
		}
		ports = append(ports, Port{Protocol: cmp.Or(port.Protocol, corev1.ProtocolTCP), Number: uint16(port.Port)})
	}
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
	})
	return slices.Compact(ports)
}

// backends returns the canonical form of the selector, qualified by the namespace in
// which it selects. A Service without a selector has endpoints of its own.
func backends(s *corev1.Service) string {
	if len(s.Spec.Selector) == 0 {
		// No label key is empty, so this cannot be mistaken for a selector.
		return s.Namespace + "/=" + s.Name
	}
	size := len(s.Namespace)
	keys := make([]string, 0, len(s.Spec.Selector))
	for key, value := range s.Spec.Selector {
		keys = append(keys, key)
		size += len("/=") + len(key) + len(value)
	}
	slices.Sort(keys)
	var b strings.Builder
	b.Grow(size) // The string is kept for every Service: no room to spare.
	b.WriteString(s.Namespace)
	separator := byte('/')
	for _, key := range keys {
		b.WriteByte(separator)
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(s.Spec.Selector[key])
		separator = ','
	}
	return b.String()
}

// StatusAddresses returns the addresses that the Service has, which is all that
// ParseService makes of its status. Entries with a host
// name only, and addresses that do not parse, are not ours.
func StatusAddresses(s *corev1.Service) []netip.Addr {
	ingress := s.Status.LoadBalancer.Ingress
	if len(ingress) == 0 {
		return nil
	}
	addresses := make([]netip.Addr, 0, len(ingress))
	for _, in := range ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil && a.Zone() == "" {
			addresses = append(addresses, a.Unmap())
		}
	}
	return addresses
}
