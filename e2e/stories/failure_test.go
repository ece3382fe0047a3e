// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// outageLimit is beyond what any failover may take on a machine busy with other things.
// The honest figures are logged, and measured by make bench.
const outageLimit = 30 * time.Second

// givenBackendsElsewhere creates a Service whose pods are not on the node that
// announces it, so that what is lost with the node is the announcement alone.
func (s *story) givenBackendsElsewhere(f family) (addrs []netip.Addr, owner string) {
	s.Helper()
	addrs, owner = s.givenAnnounced("web", f)
	s.deletePod(owner)
	for _, addr := range addrs {
		s.await(patience, "answers from other nodes only", func() error {
			for range 20 {
				if reply := s.expectAnswer("tcp", addr, 80); reply.Node == owner {
					return fmt.Errorf("the pod on %s still answers", owner)
				}
			}
			return nil
		})
	}
	return addrs, owner
}

// The node that announces loses all its links. The client's connections go on by way
// of another node. When it comes back, one node answers, not two.
func TestNodeDies(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenBackendsElsewhere(f)
		records, stop := s.connectToAll(addrs)

		node, err := s.lab.Node(owner)
		s.must(err)
		s.afterwards(func() { s.check(node.Rejoin()) })
		s.must(node.Isolate())

		for i, addr := range addrs {
			s.expectMoved(addr, owner)
			s.expectAnswers(records[i], 20)
		}
		stop()
		s.expectGaps(addrs, records)

		s.must(node.Rejoin())
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		s.expectReachable(addrs)
	})
}

// A switch restarts: all nodes lose their links at once. Nobody takes anything over, and all
// goes on where it was when the links are back, connections too.
func TestSwitchRestarts(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenAnnounced("web", dual)
	open := s.connectOnce(addrs)
	records, stop := s.connectToAll(addrs)
	each := func(act func(n *lab.Node) error) {
		for _, name := range s.nodes {
			node, err := s.lab.Node(name)
			s.must(err)
			s.check(act(node))
		}
	}
	s.afterwards(func() { each((*lab.Node).Rejoin) })
	each((*lab.Node).Isolate)
	for _, r := range records {
		s.await(patience, "a client to notice", func() error {
			if len(r.Failures()) == 0 {
				return errors.New("no request has failed")
			}
			return nil
		})
	}
	s.must(s.client.FlushNeighbors())
	back := time.Now()
	each((*lab.Node).Rejoin)
	for i, addr := range addrs {
		s.expectAnswers(records[i], 20)
		s.Logf("%s is answered for %v after the links are back", addr, records[i].Since(back)[0].At.Sub(back).Round(time.Millisecond))
		s.expectAnnouncedBy(addr, owner)
	}
	stop()
	s.expectStillOpen(open...)
}

// The node that announces loses its power, and gets it again. What it said about itself
// is not left standing.
func TestNodeLosesPower(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenBackendsElsewhere(dual)
	records, stop := s.connectToAll(addrs)
	node, err := s.lab.Node(owner)
	s.must(err)
	s.afterwards(func() { s.check(node.Revive()) })
	s.must(node.Kill(s.ctx))

	var next string
	for i, addr := range addrs {
		next = s.expectMoved(addr, owner)
		s.expectAnswers(records[i], 20)
	}
	stop()
	s.expectGaps(addrs, records)
	s.expectL2Status("web", next)

	s.must(node.Revive())
	for _, addr := range addrs {
		s.expectAnnouncedBy(addr, owner)
	}
	s.expectL2Status("web", owner)
}

// The API server is away when the node that announces dies: nobody needs it to decide
// who announces next. When it is there again, all goes on.
func TestNodeDiesWithoutAPIServer(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenBackendsElsewhere(dual)
	records, stop := s.connectToAll(addrs)
	node, err := s.lab.Node(owner)
	s.must(err)
	s.afterwards(func() { s.must(s.lab.StartAPIServer(s.ctx)) })
	s.afterwards(func() { s.check(node.Rejoin()) })
	s.must(s.lab.StopAPIServer(s.ctx))
	s.must(node.Isolate())

	for i, addr := range addrs {
		s.expectMoved(addr, owner)
		s.expectAnswers(records[i], 20)
	}
	stop()
	s.expectGaps(addrs, records)

	s.must(node.Rejoin())
	for _, addr := range addrs {
		s.expectAnnouncedBy(addr, owner)
	}
	s.must(s.lab.StartAPIServer(s.ctx))
	s.expectL2Status("web", owner)
	s.canary()
}

// The speaker that announces is killed. Traffic does not stop, because the node still
// forwards; hosts that ask for the address anew are answered again soon, and connections go on.
func TestSpeakerKilled(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		before := s.speakerOn(owner)
		records, stop := s.connectToAll(addrs)
		asking, stopAsking := s.keepAsking(addrs[0])
		s.expectAnswers(asking, 5)
		open := s.connectOnce(addrs)

		s.must(s.lab.Kill(target(before)))

		s.expectAnswers(asking, 20)
		for i := range addrs {
			s.expectAnswers(records[i], 20)
		}
		s.awaitRollout("daemonset/speaker")
		for _, addr := range addrs {
			s.expectAnnounced(addr)
		}
		s.expectStillOpen(open...)
		stop()
		stopAsking()
		s.expectGaps(addrs, records)
		s.expectGapWithin(asking, "asking the LAN for "+addrs[0].String(), outageLimit)
	})
}

// The speaker that announces hangs. Others take its addresses over, and give them back
// when it has come to: at no time do two of them answer for long, and connections go on
// whenever they began, because the node has never stopped forwarding.
func TestSpeakerHangs(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		speaker := target(s.speakerOn(owner))
		asking, stop := s.keepAsking(addrs[0])
		s.expectAnswers(asking, 5)
		open := s.connectOnce(addrs)
		s.afterwards(func() { s.check(s.lab.Continue(speaker)) })
		s.must(s.lab.Pause(speaker))
		for _, addr := range addrs {
			s.expectMoved(addr, owner)
		}
		s.expectReachable(addrs)
		s.expectStillOpen(open...)
		open = append(open, s.connectOnce(addrs)...)
		s.expectAnswers(asking, 10)
		stop()
		s.expectGapWithin(asking, "asking the LAN for "+addrs[0].String(), outageLimit)

		s.must(s.lab.Continue(speaker))
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		s.expectStillOpen(open...)
	})
}

// An upgrade replaces every speaker, one after the other. Nobody notices.
func TestSpeakersRestarted(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		records, stop := s.connectToAll(addrs)
		asking, stopAsking := s.keepAsking(addrs[0])
		s.expectAnswers(asking, 5)

		s.restart("daemonset/speaker")

		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		stop()
		stopAsking()
		s.expectGaps(addrs, records)
		s.expectGapWithin(asking, "asking the LAN for "+addrs[0].String(), outageLimit)
		s.expectL2Status("web", owner)
	})
}

// connectToAll has the client connect to each address until stop is called.
func (s *story) connectToAll(addrs []netip.Addr) (records []*record, stop func()) {
	s.Helper()
	var stops []func()
	for _, addr := range addrs {
		r, stop := s.keepConnecting(addr)
		records, stops = append(records, r), append(stops, stop)
		s.expectAnswers(r, 5)
	}
	return records, func() {
		for _, stop := range slices.Backward(stops) {
			stop()
		}
	}
}

func (s *story) expectGaps(addrs []netip.Addr, records []*record) {
	s.Helper()
	for i, addr := range addrs {
		s.expectGapWithin(records[i], "connecting to "+addr.String(), outageLimit)
	}
}
