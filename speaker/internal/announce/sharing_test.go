// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/lb"
)

// addLocal gives the inventory a Service with externalTrafficPolicy Local, of an age in
// seconds, with endpoints on the nodes.
func addLocal(v *Inventory, name, address string, age int64, nodes ...string) {
	s := service(name, address)
	s.CreationTimestamp = metav1.Unix(1_000_000-age, 0)
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	v.OnService(nil, s)
	v.OnEndpointSlice(nil, slice(name, nodes...))
}

// Of Services that share an address and have no node in common any more, the younger
// is left out. Its owner tells that once; the other nodes do not.
func TestSharersPart(t *testing.T) {
	for _, self := range []string{"a", "b"} {
		t.Run(self, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpeaker(t, lb.NodeName(self), newFakeStatusAPI())
				s.members.set("a", "b")
				fill(s.inventory, "a", "b")
				addLocal(s.inventory, "old", "192.0.2.1", 9, "a")
				addLocal(s.inventory, "young", "192.0.2.1", 8, "a", "b")
				stop := s.start()
				defer stop()
				s.settle()
				owner := self == "a"
				if owner {
					s.expectAnnounced("192.0.2.1")
					s.expectEvents("default/old nodeAssigned uid-old", "default/young nodeAssigned uid-young")
				} else {
					s.expectAnnounced()
				}

				s.inventory.OnEndpointSlice(slice("young", "a", "b"), slice("young", "b"))
				s.quiesce()
				if owner {
					s.expectAnnounced("192.0.2.1")
					s.expectEvents("default/young announceFailed uid-young")
				}
				s.inventory.OnNode(node("b"), node("b"))
				s.members.set("a", "b")
				s.quiesce()
				s.expectEvents()

				s.inventory.OnEndpointSlice(slice("young", "b"), slice("young", "a"))
				s.quiesce()
				if owner {
					s.expectEvents("default/young nodeAssigned uid-young")
				} else {
					s.expectEvents()
				}
			})
		})
	}
}

// A loss is looked at by all who share an address, also where the address does not move.
func TestSharerLosesItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI())
		s.members.set("a", "b")
		fill(s.inventory, "a", "b")
		addLocal(s.inventory, "old", "192.0.2.1", 9, "a")
		addLocal(s.inventory, "young", "192.0.2.1", 8, "b")
		stop := s.start()
		defer stop()
		s.settle()
		for _, want := range []lb.Reason{lb.ReasonNoCommonNode, lb.ReasonNoCandidate} {
			outcomes := s.reporter.records[netip.MustParseAddr("192.0.2.1")].outcomes
			if got := find(outcomes, lb.ServiceName{Namespace: "default", Name: "young"}).reason; got != want {
				t.Errorf("reason %s, want %s", got, want)
			}
			s.expectAnnounced("192.0.2.1")
			s.members.set("a")
			s.quiesce()
		}
	})
}

// By BGP a node advertises only where it has endpoints of all who share the address, and
// one node tells of those who are left out.
func TestSharersByBGP(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.inventory.OnNode(nil, node("b"))
		s.members.set("a", "b")
		addLocal(s.inventory, "old", "192.0.2.2", 9, "a", "b")
		addLocal(s.inventory, "young", "192.0.2.2", 8, "b")
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right") // b is the only node in common
		s.events.take()

		s.inventory.OnEndpointSlice(slice("old", "a", "b"), slice("old", "a"))
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right", "192.0.2.2/32 to left", "192.0.2.2/32 to right")
		s.expectEvents("default/old nodeAssigned uid-old", "default/young announceFailed uid-young")
		s.expectBGPStatuses("default/old on a to left,right of speaker-a", "default/web on a to left,right of speaker-a")

		s.inventory.OnEndpointSlice(slice("young", "b"), slice("young", "a"))
		s.quiesce()
		s.expectEvents("default/young nodeAssigned uid-young")

		// The node that both have dies: the older one goes where its other endpoint is.
		s.inventory.OnEndpointSlice(slice("old", "a"), slice("old", "a", "b"))
		s.inventory.OnEndpointSlice(slice("young", "a"), slice("young", "b"))
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right")
		s.members.set("a")
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right", "192.0.2.2/32 to left", "192.0.2.2/32 to right")
		s.expectBGPStatuses("default/old on a to left,right of speaker-a", "default/web on a to left,right of speaker-a")
	})
}
