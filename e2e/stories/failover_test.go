// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/internal/wire"
)

// afterHealing is for how long two nodes may answer for an address when a partition has
// healed, or a node goes on that was stopped.
const afterHealing = 500 * time.Millisecond

// sighting is who answered for an address at a time.
type sighting struct {
	at    time.Time
	nodes []string
}

// sight asks the LAN for addr for a while, again and again, and returns who answered.
func (s *story) sight(addr netip.Addr, d time.Duration) []sighting {
	s.Helper()
	var seen []sighting
	for begin := time.Now(); time.Since(begin) < d; {
		now := time.Now()
		macs, err := wire.WhoHas(s.client.Netns(), lanLink, addr, 25*time.Millisecond)
		s.must(err)
		x := sighting{at: now}
		for _, mac := range macs {
			x.nodes = append(x.nodes, s.nodeOf[mac])
		}
		slices.Sort(x.nodes)
		seen = append(seen, x)
	}
	return seen
}

// expectOneAnswer asks for a while after a moment, and fails if two nodes answer for addr
// later than they may.
func (s *story) expectOneAnswer(addr netip.Addr, since time.Time) {
	s.Helper()
	last := time.Duration(0)
	for _, x := range s.sight(addr, 3*time.Second) {
		if len(x.nodes) > 1 {
			last = x.at.Sub(since)
		}
	}
	s.Logf("two nodes answered for %s for the last time %v after the healing", addr, last.Round(time.Millisecond))
	if last > afterHealing {
		s.Errorf("want one at most %v after the healing", afterHealing)
	}
}

// The nodes do not hear each other, and the client hears all of them: each side answers.
// When the partition heals, one of them stops at once.
func TestPartitionHeals(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		rest := slices.DeleteFunc(slices.Clone(s.nodes), func(n string) bool { return n == owner })
		s.afterwards(func() { s.check(s.lab.Heal(s.ctx)) })
		s.must(s.lab.Partition(s.ctx, []string{owner}, rest))
		s.await(patience, "both sides to answer", func() error {
			nodes, err := s.announcers(addrs[0])
			if err == nil && len(nodes) != 2 {
				err = fmt.Errorf("answers from %v", nodes)
			}
			return err
		})
		s.must(s.lab.Heal(s.ctx))
		s.expectOneAnswer(addrs[0], time.Now())
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
	})
}

// A node stops in the middle of what it does (SIGSTOP of all its processes), and goes on
// later. Requests that have waited for it are not answered in the name of an address that
// others have.
func TestNodeFreezes(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenBackendsElsewhere(f)
		processes := []string{target(s.speakerOn(owner)), owner + "/kube-proxy"}
		goOn := func() error {
			for _, p := range processes {
				if err := s.lab.Continue(p); err != nil {
					return err
				}
			}
			return nil
		}
		s.afterwards(func() { s.check(goOn()) })
		records, stop := s.connectToAll(addrs)
		for _, p := range processes {
			s.must(s.lab.Pause(p))
		}
		s.must(s.client.FlushNeighbors())
		for i, addr := range addrs {
			s.expectMoved(addr, owner)
			s.expectAnswers(records[i], 20)
		}
		stop()
		s.expectGaps(addrs, records)
		s.must(goOn())
		s.expectOneAnswer(addrs[0], time.Now())
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		s.expectReachable(addrs)
	})
}

// An upgrade replaces every speaker, under 200 requests a second. None fails.
func TestRollingRestartCostsNothing(t *testing.T) {
	s := begin(t)
	addrs, _ := s.givenAnnounced("web", dual)
	var records []*record
	var stops []func()
	for _, addr := range addrs {
		r, stop := s.keep(probe.New(10*time.Millisecond, time.Second, s.connecting(addr)))
		records, stops = append(records, r), append(stops, stop)
		s.expectAnswers(r, 5)
	}
	s.restart("daemonset/speaker")
	for _, addr := range addrs {
		s.expectAnnounced(addr)
	}
	for i, r := range records {
		stops[i]()
		asked, _ := r.Counts()
		failures := r.Failures()
		s.Logf("%s: %d of %d requests failed; the client was late by %v at worst", addrs[i], len(failures), asked, r.Late())
		if len(failures) > 0 {
			s.Errorf("%s: want none, first %v", addrs[i], failures[0].Err)
		}
	}
}
