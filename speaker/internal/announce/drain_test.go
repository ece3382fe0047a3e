// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/lb"
)

const drainTaint = "example.org/drain"

func drainedNode(name string) *corev1.Node {
	n := node(name)
	n.Spec.Taints = []corev1.Taint{{Key: drainTaint, Effect: corev1.TaintEffectNoSchedule}}
	return n
}

// RFC 8326: peers are asked first, and nothing is withdrawn before they have had time.
func TestDrain(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.inventory.Drain = lb.DrainMark{Taint: drainTaint}
		s.routes.drain.wait = time.Hour
		routes := []string{"192.0.2.1/32 to left", "192.0.2.1/32 to right"}
		expect := func(draining bool, routes ...string) {
			t.Helper()
			s.quiesce()
			s.expectTable(routes...)
			if s.router.draining != draining {
				t.Errorf("peers are asked to prefer others: %t, want %t", s.router.draining, draining)
			}
		}
		expect(false, routes...)
		s.inventory.OnNode(node("a"), drainedNode("a"))
		expect(true, routes...)
		time.Sleep(50 * time.Minute)
		expect(true, routes...)
		time.Sleep(20 * time.Minute)
		expect(true)
		s.expectBGPStatuses()
		add(s.inventory, "db", "192.0.2.2")
		expect(true)
		s.inventory.OnNode(drainedNode("a"), node("a"))
		both := append([]string{"192.0.2.2/32 to left", "192.0.2.2/32 to right"}, routes...)
		expect(false, both...)

		// Taken back in time, nothing is withdrawn, also not later.
		s.inventory.OnNode(node("a"), drainedNode("a"))
		expect(true, both...)
		s.inventory.OnNode(drainedNode("a"), node("a"))
		time.Sleep(2 * time.Hour)
		expect(false, both...)
	})
}

// A speaker that starts on a drained node has nothing to hand over: it advertises nothing,
// not even for as long as routers are given, and at no stage of its start.
func TestStartOnDrainedNode(t *testing.T) {
	inUnsettledBGP(t, func(s *bgpSpeaker) {
		s.quiesce()
		s.inventory.Drain = lb.DrainMark{Taint: drainTaint}
		s.routes.drain.wait = time.Hour
		s.inventory.OnNode(node("a"), drainedNode("a"))
		s.source.set()
		close(s.links.ready)
		s.quiesce() // the other speakers are not known yet
		s.expectTable()
		close(s.members.settled)
		s.quiesce()
		s.expectTable()
		if s.router.draining || s.router.advertised > 0 {
			t.Errorf("peers are asked to prefer others: %t, after %d paths", s.router.draining, s.router.advertised)
		}
		s.inventory.OnNode(drainedNode("a"), node("a"))
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right")
	})
}
