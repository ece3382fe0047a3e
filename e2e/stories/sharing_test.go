// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// sharing sets the key under which a Service shares its address.
func sharing(key string) serviceOption { return annotated("metallb.io/allow-shared-ip", key) }

// asking requests addresses.
func asking(addrs []netip.Addr) serviceOption {
	return annotated("metallb.io/loadBalancerIPs", join(addrs))
}

func onTCP(number int32) serviceOption { return exposing(port(corev1.ProtocolTCP, number)) }

func onUDP(number int32) serviceOption { return exposing(port(corev1.ProtocolUDP, number)) }

// Services with the same key and other ports share an address without asking for it.
// Who has another key, or none, or wants a port that is taken, gets another one.
func TestSharedAddress(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(4))
		for _, service := range []struct {
			name    string
			address int
			options []serviceOption
		}{
			{"web", 0, []serviceOption{sharing("k"), onTCP(80)}},
			{"tls", 0, []serviceOption{sharing("k"), onTCP(443)}},
			{"quic", 0, []serviceOption{sharing("k"), onUDP(443)}},
			{"collision", 1, []serviceOption{sharing("k"), onTCP(443)}},
			{"other-key", 2, []serviceOption{sharing("j"), onTCP(25)}},
			{"no-key", 3, []serviceOption{onTCP(26)}},
		} {
			s.givenService(service.name, f, service.options...)
			s.expectAddresses(service.name, p.addrs(service.address))
		}
		s.expectCounts(p, 4, 0)
	})
}

// An address is free when the last of those that share it has gone, not before.
func TestSharedAddressFreed(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, of(1))
	for i := range 2 {
		s.givenService(fmt.Sprintf("sharer-%d", i), ipv4, sharing("k"), onTCP(80+int32(i)))
		s.expectAddresses(fmt.Sprintf("sharer-%d", i), p.addrs(0))
	}
	s.givenService("alone", ipv4, onTCP(90))
	s.expectDenied("alone", "PoolFull", p.name)

	s.deleteService("sharer-0")
	s.canary()
	s.expectAddresses("sharer-1", p.addrs(0))
	s.expectDenied("alone", "PoolFull", p.name)
	s.deleteService("sharer-1")
	s.expectAddresses("alone", p.addrs(0))
}

// A key is good in all namespaces.
func TestSharedAcrossNamespaces(t *testing.T) {
	s, neighbour := begin(t), begin(t)
	p := s.givenPool(ipv4)
	s.givenService("web", ipv4, sharing("k"), onTCP(80))
	s.expectAddresses("web", p.addrs(0))
	neighbour.givenService("tls", ipv4, sharing("k"), onTCP(443))
	neighbour.expectAddresses("tls", p.addrs(0))
	neighbour.givenService("web", ipv4, sharing("k"), onTCP(80), asking(p.addrs(0)))
	neighbour.expectDenied("web", "SharingRefused", "TCP/80", s.ns+"/web")
}

// Who asks for an address in use, and may not share it, is told why and by whom it is
// used. What stands in the way may be removed on either side.
func TestSharingRefused(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		wanted, holder := p.addrs(2), s.ns+"/holder"
		s.givenService("holder", f, asking(wanted), sharing("k"), onTCP(80))
		s.expectAddresses("holder", wanted)

		s.givenService("port", f, asking(wanted), sharing("k"), onTCP(80))
		s.expectDenied("port", "SharingRefused", wanted[0].String(), "TCP/80", holder)
		s.givenService("key", f, asking(wanted), sharing("j"), onTCP(81))
		s.expectDenied("key", "SharingRefused", `"k"`, `"j"`, holder)
		s.givenService("policy", f, asking(wanted), sharing("k"), onTCP(82), local)
		s.expectDenied("policy", "SharingRefused", "externalTrafficPolicy", holder)
		s.givenService("no-key", f, asking(wanted), onTCP(83))
		s.expectDenied("no-key", "AddressInUse", holder)

		s.patchService("port", `{"spec":{"ports":[{"port":8080}]}}`)
		s.expectAddresses("port", wanted)
		s.patchService("key", `{"metadata":{"annotations":{"metallb.io/allow-shared-ip":"k"}}}`)
		s.expectAddresses("key", wanted)
		s.patchService("policy", `{"spec":{"externalTrafficPolicy":"Cluster"}}`)
		s.expectAddresses("policy", wanted)
		for _, name := range []string{"holder", "port", "key", "policy"} {
			s.expectAddresses(name, wanted)
			s.deleteService(name)
		}
		s.expectAddresses("no-key", wanted)
	})
}

// Services that share must agree on externalTrafficPolicy, and with Local on the
// selector too. Who stops to agree loses the address; it comes back with agreement.
func TestSharingLooksAgain(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		wanted := s.givenPool(f).addrs(0)
		first := s.ns + "/first"
		s.givenService("first", f, asking(wanted), sharing("k"), onTCP(80))
		s.expectAddresses("first", wanted)
		s.givenService("second", f, asking(wanted), sharing("k"), onTCP(81))
		s.expectAddresses("second", wanted)

		s.patchService("second", `{"spec":{"externalTrafficPolicy":"Local"}}`)
		s.expectDenied("second", "SharingRefused", "externalTrafficPolicy", first)
		s.expectTakenBack("second", join(wanted), "externalTrafficPolicy", first, "nothing replaces it")
		s.patchService("first", `{"spec":{"externalTrafficPolicy":"Local"}}`)
		s.expectAddresses("second", wanted)

		s.patchService("second", `{"spec":{"selector":{"app":"another"}}}`)
		s.expectDenied("second", "SharingRefused", "selector", first)
		s.patchService("first", `{"spec":{"selector":{"app":"another"}}}`)
		s.expectAddresses("second", wanted)
		s.expectAddresses("first", wanted)
		s.expectEvents("first", "IPAllocated", 1)
		s.expectEvents("first", "ClearAssignment", 0)
	})
}
