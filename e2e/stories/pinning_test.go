// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// labelled gives a Service a label.
func labelled(key, value string) serviceOption {
	return func(service *corev1.Service) { metav1.SetMetaDataLabel(&service.ObjectMeta, key, value) }
}

// labelService sets a label of a Service; null takes it away.
func (s *story) labelService(name, key, jsonValue string) {
	s.Helper()
	s.patchService(name, fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, key, jsonValue))
}

// labelNamespace sets a label of the story's namespace; null takes it away.
func (s *story) labelNamespace(key, jsonValue string) {
	s.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, key, jsonValue)
	_, err := s.api().CoreV1().Namespaces().Patch(s.ctx, s.ns, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	s.must(err)
}

// A pool for one namespace serves those in it before any pool for all, and nobody else.
func TestPinnedToNamespace(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		stranger := begin(s.T)
		public := s.givenPool(f)
		private := s.givenPool(f, of(1), pinned("{namespaces: ["+s.ns+"]}"))
		s.expectAccepted(public)
		s.expectAccepted(private)

		stranger.givenService("web", f)
		stranger.expectAssigned("web", public)
		s.givenService("web", f)
		s.expectAssigned("web", private)
		s.givenService("second", f)
		s.expectAssigned("second", public) // because private is full
	})
}

// A pin binds those who ask for the pool, or for an address in it, by name.
func TestPinnedForExplicitRequests(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		stranger := begin(s.T)
		private := s.givenPool(f, notAutomatic, pinned("{namespaces: ["+s.ns+"]}"))
		wanted := private.addrs(3)

		stranger.givenService("names-pool", f, fromPool(private))
		stranger.expectDenied("names-pool", "NotAllowed", private.name, "serviceAllocation")
		stranger.givenService("names-address", f, asking(wanted))
		stranger.expectDenied("names-address", "NotAllowed", private.name, wanted[0].String(), "serviceAllocation")
		s.givenService("names-pool", f, fromPool(private))
		s.expectAddresses("names-pool", private.addrs(0))
		s.givenService("names-address", f, asking(wanted))
		s.expectAddresses("names-address", wanted)

		s.deleteService("names-address")
		private.allocation = "{namespaces: [" + s.ns + ", " + stranger.ns + "]}"
		s.applyPool(private)
		stranger.expectAddresses("names-address", wanted)
		stranger.expectAddresses("names-pool", private.addrs(1))
	})
}

// Labels of the namespace admit its Services, and shut them out again, as they change.
func TestPinnedByNamespaceLabel(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, pinned("{namespaceSelectors: [{matchLabels: {tier: "+s.ns+"}}]}"))
		s.givenService("web", f)
		s.expectDenied("web", "NoMatchingPool", "serviceAllocation")

		s.labelNamespace("tier", fmt.Sprintf("%q", s.ns))
		s.expectAssigned("web", p)
		s.labelNamespace("tier", `"another"`)
		s.expectDenied("web", "NoMatchingPool", "serviceAllocation")
		s.expectTakenBack("web", join(p.addrs(0)), p.name, "serviceAllocation", "nothing replaces it")
		s.labelNamespace("tier", fmt.Sprintf("%q", s.ns))
		s.expectAssigned("web", p)
	})
}

// An address that the Service may keep stays, even if its namespace is admitted to a
// better pool. When the namespace is shut out, the Service moves to what is left.
func TestRelabelledNamespaceMoves(t *testing.T) {
	s := begin(t)
	private := s.givenPool(ipv4, pinned("{priority: 1, namespaceSelectors: [{matchLabels: {tier: "+s.ns+"}}]}"))
	public := s.givenPool(ipv4)
	s.expectAccepted(private)
	s.givenService("early", ipv4)
	s.expectAssigned("early", public)
	s.givenService("insistent", ipv4, fromPool(private))
	s.expectDenied("insistent", "NotAllowed", private.name)
	s.labelNamespace("tier", fmt.Sprintf("%q", s.ns))
	s.expectAssigned("insistent", private)
	s.givenService("late", ipv4)
	addrs := s.expectAssigned("late", private)
	s.expectAddresses("early", public.addrs(0))
	s.expectEvents("early", "IPAllocated", 1)

	s.labelNamespace("tier", "null")
	s.expectAddresses("late", public.addrs(1))
	s.expectTakenBack("late", join(addrs), private.name, "serviceAllocation", join(public.addrs(1)), public.name)
	s.expectEvents("late", "ClearAssignment", 1)
	s.expectDenied("insistent", "NotAllowed", private.name)
	s.expectAddresses("early", public.addrs(0))
}

// Labels count for those who ask for an address by name, too, and as they change.
func TestRelabelledForExplicitRequest(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, notAutomatic, pinned("{namespaceSelectors: [{matchLabels: {tier: "+s.ns+"}}], serviceSelectors: [{matchLabels: {lb: public}}]}"))
		wanted := p.addrs(3)
		s.givenService("web", f, asking(wanted), labelled("lb", "public"))
		s.expectDenied("web", "NotAllowed", wanted[0].String(), p.name, "the labels of namespace "+s.ns, "namespaceSelectors (tier in ("+s.ns+"))")
		s.labelNamespace("tier", fmt.Sprintf("%q", s.ns))
		s.expectAddresses("web", wanted)

		s.labelService("web", "lb", `"internal"`)
		s.expectDenied("web", "NotAllowed", p.name, "serviceSelectors (lb in (public))")
		s.expectTakenBack("web", join(wanted), p.name, "serviceSelectors", "nothing replaces it")
		s.labelService("web", "lb", `"public"`)
		s.expectAddresses("web", wanted)
	})
}

// Labels of the Service admit it, and shut it out again, as they change.
func TestPinnedByServiceLabel(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, pinned("{serviceSelectors: [{matchExpressions: [{key: lb, operator: In, values: [a, b]}]}]}"))
		s.givenService("web", f, labelled("lb", "a"))
		addrs := s.expectAssigned("web", p)
		s.givenService("plain", f)
		s.expectDenied("plain", "NoMatchingPool", "serviceAllocation")

		s.labelService("web", "lb", `"b"`)
		s.labelService("plain", "lb", `"a"`)
		s.expectAddresses("plain", p.addrs(1))
		s.expectAddresses("web", addrs)
		s.expectEvents("web", "ClearAssignment", 0)
		s.labelService("web", "lb", "null")
		s.expectDenied("web", "NoMatchingPool", "serviceAllocation")
		s.expectAddresses("plain", p.addrs(1))
	})
}

// Namespaces and their labels are alternatives, and so are the selectors of each kind;
// selectors of Services restrict in addition.
func TestPinnedByNamespaceAndService(t *testing.T) {
	s, selected, stranger := begin(t), begin(t), begin(t)
	selected.labelNamespace("tier", `"gold"`)
	stranger.labelNamespace("tier", `"lead"`)
	p := s.givenPool(ipv4, pinned("{namespaces: ["+s.ns+"]"+
		", namespaceSelectors: [{matchLabels: {tier: gold}}, {matchLabels: {tier: platinum}}]"+
		", serviceSelectors: [{matchLabels: {lb: public}}, {matchLabels: {lb: edge}}]}"))

	for _, who := range []struct {
		*story
		admitted bool
	}{{s, true}, {selected, true}, {stranger, false}} {
		for _, label := range []string{"public", "edge", "internal"} {
			who.givenService(label, ipv4, labelled("lb", label))
			if who.admitted && label != "internal" {
				who.expectAssigned(label, p)
			} else {
				who.expectDenied(label, "NoMatchingPool", "serviceAllocation")
			}
		}
	}
	stranger.labelNamespace("tier", `"platinum"`)
	stranger.expectAssigned("public", p)
	stranger.expectAssigned("edge", p)
	stranger.expectDenied("internal", "NoMatchingPool", "serviceAllocation")
}

// Pools with nothing but a priority serve everybody: the lowest number first, 0 after
// all others, and pools that say nothing last.
func TestPoolPriority(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		silent := s.givenPool(f, of(1))
		zero := s.givenPool(f, of(1), pinned("{priority: 0}"))
		second := s.givenPool(f, of(1), pinned("{priority: 20}"))
		first := s.givenPool(f, of(1), pinned("{priority: 10}"))
		order := []*pool{first, second, zero, silent}
		for _, p := range order {
			s.expectAccepted(p)
		}
		for i, p := range order {
			name := fmt.Sprintf("web-%d", i)
			s.givenService(name, f)
			s.expectAssigned(name, p)
		}
		s.givenService("late", f)
		s.expectDenied("late", "PoolFull", first.name, second.name, zero.name, silent.name)
	})
}
