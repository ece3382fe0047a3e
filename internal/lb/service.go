// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// ServiceName names a Service in the cluster. It is comparable.
type ServiceName struct {
	Namespace, Name string
}

// String returns "namespace/name".
func (n ServiceName) String() string { return n.Namespace + "/" + n.Name }

// Service is what Herald needs to know of a Service of type LoadBalancer.
type Service struct {
	Name    ServiceName
	UID     string
	Created time.Time
	Labels  labels.Set
	// Class is spec.loadBalancerClass; empty when unset.
	Class string

	// Families are the families of the Service's cluster IPs, primary family first.
	Families []Family
	// FamilyPolicy is spec.ipFamilyPolicy; SingleStack when unset.
	FamilyPolicy corev1.IPFamilyPolicy
	// Requested are the addresses asked for by annotation or spec.loadBalancerIP.
	Requested []netip.Addr
	// Pool is the address-pool annotation: the only pool to assign from.
	Pool string
	// SharingKey is the allow-shared-ip annotation. Empty: never shared.
	SharingKey string
	// LocalSharing permits sharing between Services with Local and other Backends.
	LocalSharing bool
	// AnyPools permits the two addresses of a dual-stack Service to be from two pools.
	AnyPools bool
	// Reserve asks to keep the Service's addresses for it when it is gone.
	Reserve ReserveWish
	// Ports are what the Service exposes, sorted.
	Ports []Port
	// Local is externalTrafficPolicy: Local.
	Local bool
	// Backends is the namespace and the pod selector in canonical form, or the name
	// where there is no selector: Services with equal Backends have the same endpoints.
	Backends string

	// Addresses are the LB IPs in status.loadBalancer.ingress, as found there.
	Addresses []netip.Addr
	// AllocatedFrom is the ip-allocated-from-pool annotation: see PoolOf.
	AllocatedFrom string
}

// PoolOf returns the name of the pool that an address in the Service's status was
// allocated from, by the record on the Service: the only pool it names, or the one it
// names in the place of the address. Empty: the record does not say.
func (s *Service) PoolOf(a netip.Addr) string {
	first, rest, several := strings.Cut(s.AllocatedFrom, ",")
	if !several {
		return first
	}
	for _, held := range s.Addresses {
		if held == a {
			return first
		}
		first, rest, _ = strings.Cut(rest, ",")
	}
	return ""
}

// CompareAge orders Services by creation, the oldest first. The API server's clock ticks
// in seconds: of Services that were created in the same one the name decides.
func CompareAge(a, b *Service) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Name.Namespace, b.Name.Namespace); c != 0 {
		return c
	}
	return cmp.Compare(a.Name.Name, b.Name.Name)
}

// Port is one exposed port of a Service. It is comparable.
type Port struct {
	Protocol corev1.Protocol
	Number   uint16
}
