// SPDX-License-Identifier: Apache-2.0

package stories

import "testing"

const drainMark = "example.org/drain"

// A node with the taint that the administrator has chosen hands its addresses over, and
// has them again when the taint is gone. Nobody notices.
func TestDrainByTaint(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		s.givenFlag("daemonset/speaker", "--drain-taint="+drainMark)
		addrs, owner := s.givenAnnounced("web", f)
		records, stop := s.connectToAll(addrs)

		s.kubectl("cordon", owner) // this alone does nothing
		s.afterwards(func() { s.kubectl("uncordon", owner) })
		s.canaryOnLAN(f)
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}

		s.kubectl("taint", "node", owner, drainMark+"=:NoSchedule")
		s.afterwards(func() { _, _ = s.lab.Kubectl(s.ctx, "taint", "node", owner, drainMark+"-") })
		for i, addr := range addrs {
			s.expectMoved(addr, owner)
			s.expectAnswers(records[i], 20)
		}

		s.kubectl("taint", "node", owner, drainMark+"-")
		for i, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
			s.expectAnswers(records[i], 20)
		}
		stop()
		s.expectGaps(addrs, records)
	})
}

// The same by an annotation.
func TestDrainByAnnotation(t *testing.T) {
	s := begin(t)
	s.givenFlag("daemonset/speaker", "--drain-annotation="+drainMark)
	addrs, owner := s.givenAnnounced("web", ipv4)
	s.kubectl("annotate", "node", owner, drainMark+"=yes")
	s.afterwards(func() { _, _ = s.lab.Kubectl(s.ctx, "annotate", "node", owner, drainMark+"-") })
	s.expectMoved(addrs[0], owner)
	s.kubectl("annotate", "node", owner, drainMark+"-")
	s.expectAnnouncedBy(addrs[0], owner)
}

// canaryOnLAN has another Service announced: whatever was to be decided before has been.
func (s *story) canaryOnLAN(f family) {
	s.Helper()
	p := s.givenPool(f, notAutomatic)
	s.givenService("later", f, fromPool(p))
	for _, addr := range s.expectAssigned("later", p) {
		s.expectAnnounced(addr)
	}
}
