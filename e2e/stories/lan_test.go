// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/lab"
)

// record is what a client that keeps asking has experienced.
type record = probe.Probe

// answerTime is how long a question on the LAN waits for answers.
const answerTime = 200 * time.Millisecond

// ask puts one question to a Service as the client does: protocol is tcp, udp or http.
func (s *story) ask(ctx context.Context, protocol string, addr netip.Addr, port uint16) (lab.Reply, error) {
	return s.client.Echo(ctx, protocol, netip.AddrPortFrom(addr, port).String())
}

// expectReachable waits until the client gets an answer over HTTP at port 80 of each
// address.
func (s *story) expectReachable(addrs []netip.Addr) {
	s.Helper()
	for _, addr := range addrs {
		s.expectAnswer("http", addr, 80)
	}
}

// expectAnswer waits until the client gets an answer, and returns it.
func (s *story) expectAnswer(protocol string, addr netip.Addr, port uint16) lab.Reply {
	s.Helper()
	var reply lab.Reply
	s.await(patience, fmt.Sprintf("an answer over %s from %s port %d", protocol, addr, port), func() (err error) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		defer cancel()
		reply, err = s.ask(ctx, protocol, addr, port)
		return err
	})
	return reply
}

// announcers asks the LAN who has addr and returns the nodes that answer.
func (s *story) announcers(addr netip.Addr) ([]string, error) {
	macs, err := wire.WhoHas(s.client.Netns(), lanLink, addr, answerTime)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, mac := range macs {
		node := s.nodeOf[mac]
		if node == "" {
			return nil, fmt.Errorf("%s is answered by %s, which is no node's", addr, mac)
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// expectAnnounced waits until exactly one node answers for addr on the LAN, and
// returns its name.
func (s *story) expectAnnounced(addr netip.Addr) string {
	s.Helper()
	var nodes []string
	s.await(patience, fmt.Sprintf("one node to answer for %s", addr), func() (err error) {
		if nodes, err = s.announcers(addr); err == nil && len(nodes) != 1 {
			err = fmt.Errorf("answers from %v", nodes)
		}
		return err
	})
	return nodes[0]
}

// expectAnnouncedBy waits until that node, and no other, answers for addr.
func (s *story) expectAnnouncedBy(addr netip.Addr, node string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to answer for %s", node, addr), func() error {
		nodes, err := s.announcers(addr)
		if err == nil && (len(nodes) != 1 || nodes[0] != node) {
			err = fmt.Errorf("answers from %v", nodes)
		}
		return err
	})
}

// expectMoved waits until exactly one node answers for addr and it is not that one.
func (s *story) expectMoved(addr netip.Addr, from string) string {
	s.Helper()
	var node string
	s.await(patience, fmt.Sprintf("another node than %s to answer for %s", from, addr), func() error {
		nodes, err := s.announcers(addr)
		if err != nil {
			return err
		}
		if len(nodes) != 1 || nodes[0] == from {
			return fmt.Errorf("answers from %v", nodes)
		}
		node = nodes[0]
		return nil
	})
	return node
}

// expectNotAnnouncedBy waits until that node does not answer for addr.
func (s *story) expectNotAnnouncedBy(addr netip.Addr, node string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s not to answer for %s", node, addr), func() error {
		nodes, err := s.announcers(addr)
		if err == nil && slices.Contains(nodes, node) {
			err = fmt.Errorf("answers from %v", nodes)
		}
		return err
	})
}

// expectSilence waits until nobody answers for addr.
func (s *story) expectSilence(addr netip.Addr) {
	s.Helper()
	s.await(patience, fmt.Sprintf("nobody to answer for %s", addr), func() error {
		nodes, err := s.announcers(addr)
		if err == nil && len(nodes) > 0 {
			err = fmt.Errorf("answers from %v", nodes)
		}
		return err
	})
}

// clientSees returns the node that the client's own neighbour table has for addr.
func (s *story) clientSees(addr netip.Addr) string {
	s.Helper()
	mac, err := s.client.MACOf(addr)
	s.must(err)
	return s.nodeOf[mac.String()]
}

// keepConnecting has the client connect every 10 ms until the story ends or stop is
// called, which returns the record. An answer counts as given by the pod's node.
func (s *story) keepConnecting(addr netip.Addr) (_ *record, stop func()) {
	return s.keep(probe.New(10*time.Millisecond, 500*time.Millisecond, s.connecting(addr)))
}

// connecting is one connection of the client, answered by the pod's node.
func (s *story) connecting(addr netip.Addr) probe.Ask {
	return func(ctx context.Context) (string, error) {
		reply, err := s.ask(ctx, "tcp", addr, 80)
		return reply.Node, err
	}
}

// keepAsking asks the LAN for addr again and again: the view of a host that does not
// know the address yet.
func (s *story) keepAsking(addr netip.Addr) (_ *record, stop func()) {
	const wait = 25 * time.Millisecond
	return s.keep(probe.New(50*time.Millisecond, time.Second, func(context.Context) (string, error) {
		macs, err := wire.WhoHas(s.client.Netns(), lanLink, addr, wait)
		switch {
		case err != nil:
			return "", err
		case len(macs) == 0:
			return "", errors.New("nobody answers")
		}
		return s.nodeOf[macs[0]], nil
	}))
}

func (s *story) keep(p *probe.Probe) (_ *record, stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	s.Cleanup(stop)
	return p, stop
}

// expectAnswers waits until the record has n more answers.
func (s *story) expectAnswers(r *record, n int) {
	s.Helper()
	start := time.Now()
	s.await(time.Minute, strconv.Itoa(n)+" more answers", func() error {
		if got := len(r.Since(start)); got < n {
			_, err := r.Last()
			return fmt.Errorf("%d so far; last error: %w", got, err)
		}
		return nil
	})
}

// expectGapWithin logs the longest gap of a record and fails if it is beyond all
// reason.
func (s *story) expectGapWithin(r *record, who string, limit time.Duration) {
	s.Helper()
	asked, answered := r.Counts()
	gap := r.Longest()
	s.Logf("%s: longest time without an answer %v, of %d questions %d were answered",
		who, gap.Length.Round(time.Millisecond), asked, answered)
	if answered == 0 || gap.Length > limit {
		s.Errorf("%s: want answers at least every %v", who, limit)
	}
}
