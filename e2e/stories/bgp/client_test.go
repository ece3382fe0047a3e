// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
)

// keepAsking has the client ask every so often, over a new connection each time, until
// the story ends or the function it returns is called.
func (s *story) keepAsking(a netip.Addr, every, patience time.Duration, protocol string) (record *probe.Probe, stop func()) {
	port := uint16(80)
	if protocol == "udp" {
		port = 53
	}
	record = probe.New(every, patience, func(ctx context.Context) (string, error) {
		reply, err := s.client.Echo(ctx, protocol, netip.AddrPortFrom(a, port).String())
		return reply.Node, err
	})
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() { defer close(done); record.Run(ctx) }()
	stop = func() { cancel(); <-done }
	s.Cleanup(stop)
	return record, stop
}

// awaitAnswers waits until a client has had so many more answers.
func (s *story) awaitAnswers(record *probe.Probe, more int) {
	s.Helper()
	_, before := record.Counts()
	s.await(patience, fmt.Sprintf("%d answers", more), func() error {
		if _, now := record.Counts(); now < before+more {
			_, err := record.Last()
			return fmt.Errorf("%d so far; the last error was %w", now-before, err)
		}
		return nil
	})
}

// shares returns how many of the answers after t each node gave.
func shares(record *probe.Probe, t time.Time) map[string]int {
	by := make(map[string]int)
	for _, answer := range record.Since(t) {
		by[answer.By]++
	}
	return by
}
