// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"errors"
	"net"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// maxPacket is the size of a receive buffer. A control packet is much shorter,
// even with authentication.
const maxPacket = 128

// read takes the packets of an entrance until it is closed.
func (s *Sessions) read(at entrance, r receiver) error {
	var buffer [maxPacket]byte
	for {
		a, err := r.receive(buffer[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			s.lose(at, r, err)
			return nil
		}
		s.mu.Lock()
		now := time.Now()
		s.lateness.record(s.queue.first(), now)
		s.take(at, a, buffer[:a.length], now)
		s.mu.Unlock()
	}
}

// lose gives up a receiver that has failed, which is then opened again.
func (s *Sessions) lose(at entrance, r receiver, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receivers[at] != r {
		return
	}
	s.complain(at, err)
	s.close(r)
	delete(s.receivers, at)
	s.tendLater(time.Now())
}

// take gives a packet to its session, if it is good and has one (RFC 5880,
// section 6.8.6). The caller holds the lock.
func (s *Sessions) take(at entrance, a arrival, b []byte, now time.Time) {
	p, err := parse(b)
	if err != nil {
		s.log.Debug("BFD packet refused", "source", a.from, lb.LogKeyError, err)
		return
	}
	e := s.find(at, a, &p)
	if e == nil || e.path.entrance() != at || !e.started || !s.near(e, a) {
		return
	}
	e.counters.controlIn++
	e.arrived = a
	o := e.machine.receive(&p, now)
	if e.leaving() {
		s.takeLeave(e, &p, o, now)
		return
	}
	s.apply(e, o, now)
}

// find returns the session of a packet: by our discriminator, whatever else has
// changed, or by how it came while the peer does not know that (RFC 5880, section
// 6.3).
func (s *Sessions) find(at entrance, a arrival, p *Packet) *session {
	if p.YourDiscriminator != 0 {
		return s.byDiscriminator[p.YourDiscriminator]
	}
	var found *session
	for _, e := range s.byPeer[a.from] {
		if e.path.entrance() == at && e.matches(a) && (found == nil || e.path.Local.IsValid()) {
			found = e // the one that names our address knows best
		}
	}
	return found
}

// near says whether a packet comes from no farther than the session allows. That
// one does not is logged once: it may be an attack, and it may be a peer that does
// not send with a TTL of 255.
func (s *Sessions) near(e *session, a arrival) bool {
	if a.ttl >= e.minimumTTL() {
		return true
	}
	if !e.distant {
		e.distant = true
		s.log.Warn("BFD packets refused, they come from too far or the peer sends them with too low a TTL",
			lb.LogKeyPeer, e.label(), "ttl", a.ttl, "minimum", e.minimumTTL())
	}
	return false
}

// takeLeave ends the leave of a session once the peer has heard of it. Until then
// each packet is answered: the one before was lost. That is more often than RFC
// 5880, section 6.8.7, allows, for a second at most; a lost farewell would be a
// failure for the peer.
func (s *Sessions) takeLeave(e *session, p *Packet, o output, now time.Time) {
	if p.State == Down || p.State == AdminDown {
		s.forget(e, now)
		return
	}
	if !o.send {
		o.packet = e.machine.packet()
	}
	s.send(e, &o.packet)
}
