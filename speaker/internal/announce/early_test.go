// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"slices"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// Peers are dialled while Services are on their way, and hear nothing yet.
func TestPeersAreExpected(t *testing.T) {
	inUnsettledBGP(t, func(s *bgpSpeaker) {
		s.quiesce()
		s.router.mu.Lock()
		defer s.router.mu.Unlock()
		if want := []bgp.PeerName{"left", "right"}; !slices.Equal(s.router.expected, want) || s.router.peers != nil {
			t.Errorf("expected are %v, and there are %v; want %v, and none", s.router.expected, s.router.peers, want)
		}
	})
}

// Who else is alive does not matter to routes.
func TestRoutesDoNotWaitForMembers(t *testing.T) {
	inUnsettledBGP(t, func(s *bgpSpeaker) {
		s.quiesce()
		s.expectTable() // objects are not known
		s.source.set()
		close(s.links.ready)
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right")
		add(s.inventory, "db", "192.0.2.2")
		s.quiesce()
		before := []string{"192.0.2.1/32 to left", "192.0.2.1/32 to right", "192.0.2.2/32 to left", "192.0.2.2/32 to right"}
		s.expectTable(before...)
		s.router.takeCalls()
		close(s.members.settled)
		s.quiesce()
		s.expectTable(before...)
		if n := s.router.takeCalls(); n > 1 { // the peers are said again
			t.Errorf("%d calls after membership has settled, want one at most", n)
		}
	})
}
