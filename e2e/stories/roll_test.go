// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/internal/traffic"
)

// An upgrade replaces every speaker, and every node is drained in turn, under 200 requests a
// second and 50 connections that stay open for each address. No request fails, and no
// connection breaks, whether addresses go back to nodes that return or stay.
func TestLeavingCostsNothing(t *testing.T) {
	for _, failback := range []string{"immediate", "never"} {
		t.Run(failback, func(t *testing.T) {
			s := begin(t)
			s.givenFlag("daemonset/speaker", "--l2-failback="+failback, "--drain-taint="+drainMark)
			addrs, _ := s.givenAnnounced("web", dual)

			load, stop := s.givenLoad(addrs)
			s.restart("daemonset/speaker")
			for _, node := range s.nodes {
				s.expectTakingPart(node)
			}
			stop()
			s.expectLossless(load, "the rolling restart")

			load, stop = s.givenLoad(addrs)
			for _, node := range s.nodes {
				s.drain(node, addrs)
			}
			stop()
			s.expectLossless(load, "the drains")
		})
	}
}

// drain hands a node's addresses over, and lets it have addresses again.
func (s *story) drain(node string, addrs []netip.Addr) {
	s.Helper()
	s.kubectl("taint", "node", node, drainMark+"=:NoSchedule")
	unmark := sync.OnceFunc(func() { s.kubectl("taint", "node", node, drainMark+"-") })
	s.afterwards(unmark)
	for _, addr := range addrs {
		s.expectMoved(addr, node)
	}
	unmark()
	s.expectTakingPart(node)
}

// givenLoad has the client put 200 requests a second to each address, each over a connection
// of its own, and keep 50 connections open to it.
func (s *story) givenLoad(addrs []netip.Addr) (load *traffic.Load, stop func()) {
	s.Helper()
	s.expectReachable(addrs)
	var targets []traffic.Target
	for _, addr := range addrs {
		targets = append(targets, traffic.From(s.client, addr))
	}
	load = traffic.New(targets, 5*time.Millisecond, 50)
	ctx, cancel := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	running.Go(func() { load.Run(ctx) })
	s.Cleanup(func() { cancel(); running.Wait() })
	answered := func() {
		s.Helper()
		since := time.Now()
		s.await(patience, "answers over all connections", func() error {
			if err := load.Answered(since); err != nil {
				return fmt.Errorf("%w; %v", err, load.Count())
			}
			return nil
		})
	}
	answered()
	return load, func() {
		s.Helper()
		answered()
		cancel()
		running.Wait()
	}
}

// expectLossless fails if a request failed or a connection broke.
func (s *story) expectLossless(load *traffic.Load, during string) {
	s.Helper()
	c := load.Count()
	s.Logf("during %s: %v", during, c)
	if c.Lossless() {
		return
	}
	const shown = 10
	for _, l := range slices.Concat(c.Failed[:min(len(c.Failed), shown)], c.Broken[:min(len(c.Broken), shown)]) {
		s.Logf("%v", l)
	}
	s.Errorf("during %s: want no loss", during)
}
