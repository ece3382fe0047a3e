// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"fmt"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// apply does what a machine wants done. The caller holds the lock, as in all that
// follows.
func (s *Sessions) apply(e *session, o output, now time.Time) {
	if o.send {
		s.send(e, &o.packet)
	}
	if o.echo {
		s.sendEcho(e)
	}
	if o.changed {
		s.report(e, o, now)
	}
	if e.started {
		s.plan(e, e.next())
	}
}

// plan makes sure that a session is looked at by the given time.
func (s *Sessions) plan(e *session, at time.Time) {
	s.queue.plan(e, at)
	if first := s.queue.first(); !first.IsZero() && (s.armed.IsZero() || first.Before(s.armed)) {
		ring(s.bell)
	}
}

// report queues a change for OnChange.
func (s *Sessions) report(e *session, o output, now time.Time) {
	if e.leaving() {
		return
	}
	c := Change{Path: e.path, Previous: o.previous.state, Status: e.status()}
	if c.Previous != Up && c.State == Up {
		e.counters.ups++
	}
	if c.Previous == Up && c.State != Up {
		e.counters.downs++
		c.SelfLate = s.selfLate(o.previous, now)
	}
	e.counters.notifications++
	log := s.log.With(lb.LogKeyPeer, e.label(), "state", c.State.String(), "previous", c.Previous.String(),
		"remote_state", c.RemoteState.String(), lb.LogKeyReason, c.Diagnostic.String())
	if c.SelfLate > 0 {
		log = log.With("self_late", c.SelfLate)
	}
	log.Info("BFD session changed")
	s.changes = append(s.changes, c)
	ring(s.news)
}

// selfLate is how late our own timers were before a session went down, if that is
// at least the time between two packets: less explains no silence. What counts is
// how the session was before; the packet that brought it down has slowed it.
func (s *Sessions) selfLate(before summary, now time.Time) time.Duration {
	worst := s.lateness.worst(now.Add(-before.memory))
	if worst < before.rhythm {
		return 0
	}
	return worst
}

// send sends a control packet. What cannot be sent is lost, as on a wire.
func (s *Sessions) send(e *session, p *Packet) {
	if !s.openSender(e) {
		return
	}
	err := e.sender.send(p.append(s.buffer[:0]))
	if err == nil {
		e.counters.controlOut++
		if len(s.complaints) > 0 {
			s.content(e.path)
		}
		return
	}
	s.complain(e.path, err)
	// The interface may have another number by now: begin anew.
	s.closeSender(e)
}

// complain logs an error about something, once until there is another or none.
func (s *Sessions) complain(about fmt.Stringer, err error) {
	if text := err.Error(); s.complaints[about] != text {
		s.complaints[about] = text
		s.log.Warn("BFD packets are lost", "about", about.String(), lb.LogKeyError, err)
	}
}

// content takes complaints about something back.
func (s *Sessions) content(about fmt.Stringer) { delete(s.complaints, about) }

// openSender opens the socket to send from, if it is not open. The source port
// stays the same as long as it can be had (RFC 5881, section 4).
func (s *Sessions) openSender(e *session) bool {
	if e.sender != nil {
		return true
	}
	for range 1 << 14 {
		port := e.port
		if port == 0 {
			port = s.nextPort
			s.nextPort = max(s.nextPort+1, firstSourcePort) // after 65535 comes the first
		}
		opened, err := s.network.open(e.path, port)
		switch {
		case err == nil:
			e.sender, e.port = opened, port
			return true
		case !isPortTaken(err):
			s.complain(e.path, err)
			return false
		}
		e.port = 0
	}
	s.complain(e.path, errPortTaken)
	return false
}

func (s *Sessions) closeSender(e *session) {
	if e.sender == nil {
		return
	}
	if err := e.sender.Close(); err != nil {
		s.log.Debug("closing a BFD socket", lb.LogKeyPeer, e.label(), lb.LogKeyError, err)
	}
	e.sender = nil
}
