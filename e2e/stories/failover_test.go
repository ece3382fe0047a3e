// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/e2e/internal/wire"
)

// expectOneVoice waits until one node alone answers for each address, and for a while goes on
// to: until it has answered a number of questions more. For how long two may is measured by
// e2e/bench/failover.
func (s *story) expectOneVoice(chorus *wire.Chorus, addrs []netip.Addr) {
	s.Helper()
	const more = 20
	s.await(patience, "one node to answer for each address", func() error {
		since := time.Now().Add(-time.Second)
		for _, addr := range addrs {
			if voices, n := chorus.Voices(addr, since), len(chorus.Since(addr, since)); len(voices) != 1 || n < more {
				return fmt.Errorf("%d answers for %s in the last second, from %v", n, addr, voices)
			}
		}
		return nil
	})
}

// listen asks for addresses again and again until the story ends, and hears who answers on the
// client's link.
func (s *story) listen(addrs []netip.Addr) *wire.Chorus {
	s.Helper()
	chorus := new(wire.Chorus)
	tap, err := s.client.Capture(lanLink)
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return wire.KeepAsking(ctx, s.client.Netns(), lanLink, addrs, 20*time.Millisecond) })
	group.Go(func() error {
		return chorus.Listen(ctx, func(ctx context.Context) (time.Time, []byte, error) {
			frame, err := tap.Next(ctx)
			return frame.Time, frame.Bytes, err
		})
	})
	s.Cleanup(func() {
		cancel()
		s.check(group.Wait())
		s.check(tap.Close())
	})
	return chorus
}

// givenMany creates Services, and returns their addresses and who announces each.
func (s *story) givenMany(f family, n int) (addrs []netip.Addr, owners map[netip.Addr]string) {
	s.Helper()
	p := s.givenPool(f, of(n))
	s.givenPods(s.nodes...)
	for i := range n {
		s.givenService(fmt.Sprintf("web-%d", i), f)
	}
	owners = make(map[netip.Addr]string)
	for i := range n {
		addrs = append(addrs, s.expectAssigned(fmt.Sprintf("web-%d", i), p)...)
	}
	for _, addr := range addrs {
		owners[addr] = s.expectAnnounced(addr)
	}
	return addrs, owners
}

// Some nodes do not hear the others, or not each way, and the client hears all of them: more
// than one answers. When that is over, each address has one voice, and that of the node that had
// it before.
func TestPartitionHeals(t *testing.T) {
	for name, separate := range map[string]func(s *story, one, rest []string) error{
		"neither hears the other": func(s *story, one, rest []string) error { return s.lab.Partition(s.ctx, one, rest) },
		"one is not heard":        func(s *story, one, rest []string) error { return s.lab.Silence(s.ctx, one, rest) },
	} {
		t.Run(name, func(t *testing.T) {
			const many = 8
			s := begin(t)
			addrs, owners := s.givenMany(dual, many)
			one := owners[addrs[0]]
			rest := slices.DeleteFunc(slices.Clone(s.nodes), func(n string) bool { return n == one })
			chorus := s.listen(addrs)
			s.afterwards(func() { s.check(s.lab.Heal(s.ctx)) })
			s.must(separate(s, []string{one}, rest))
			s.await(patience, "both sides to answer", func() error {
				since := time.Now().Add(-time.Second)
				for _, addr := range addrs {
					if voices := chorus.Voices(addr, since); owners[addr] == one && len(voices) != 2 {
						return fmt.Errorf("%s has answers from %v", addr, voices)
					}
				}
				return nil
			})
			s.must(s.lab.Heal(s.ctx))
			s.expectOneVoice(chorus, addrs)
			for _, addr := range addrs {
				s.expectAnnouncedBy(addr, owners[addr])
			}
		})
	}
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
		chorus := s.listen(addrs)
		s.must(goOn())
		s.expectOneVoice(chorus, addrs)
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		s.expectReachable(addrs)
	})
}
