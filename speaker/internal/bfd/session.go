// SPDX-License-Identifier: Apache-2.0

package bfd

import "time"

// session is a machine with its sockets. The lock of Sessions guards it.
type session struct {
	path    Path
	machine *machine
	sender  sender // nil until the first packet, and after an error
	port    uint16 // source port; 0 until there was a sender
	distant bool   // it was logged that packets come from too far
	// arrived is how the last packet came.
	arrived arrival
	// leaveBy ends a session that takes its leave; zero: it stays.
	leaveBy time.Time

	started bool      // its sockets are open: it may send and receive
	due     time.Time // the time it has in the queue
	index   int       // its place there; absent while it waits for a packet

	counters counters
}

// counters are the figures of a session for the metrics.
type counters struct {
	controlIn, controlOut uint64
	echoIn, echoOut       uint64
	ups, downs            uint64
	notifications         uint64
}

// next is when the session wants to be looked at.
func (s *session) next() time.Time { return earliest(s.machine.next(), s.leaveBy) }

func (s *session) leaving() bool { return !s.leaveBy.IsZero() }

// minimumTTL is the least TTL of a packet of the session (RFC 5881, section 5;
// RFC 5883 leaves it open).
func (s *session) minimumTTL() int {
	if s.path.Multihop {
		return int(s.machine.config.MinimumTTL)
	}
	return hopLimit
}

// matches says whether a packet whose sender does not know our discriminator is
// of the session (RFC 5880, section 6.8.6; RFC 5881, section 3).
func (s *session) matches(a arrival) bool {
	if s.path.Local.IsValid() && s.path.Local != a.to {
		return false
	}
	if s.path.Interface == "" {
		return true
	}
	return s.sender != nil && s.sender.interfaceIndex() == a.index
}

func (s *session) status() Status {
	m := s.machine
	st := Status{
		State: m.state, Diagnostic: m.diagnostic,
		RemoteState: m.remoteState, RemoteDiagnostic: m.remoteDiag,
		TransmitInterval: m.transmitInterval(),
		Echo:             m.echo.proven && !m.echo.expireAt.IsZero(),
	}
	if m.remote != 0 {
		st.DetectionTime = m.detectionTime()
	}
	return st
}

// label is the peer as the metrics name it.
func (s *session) label() string {
	if s.path.Peer.IsLinkLocalUnicast() && s.path.Peer.Is6() {
		return s.path.Peer.WithZone(s.path.Interface).String()
	}
	return s.path.Peer.String()
}

// canEcho says whether a path can have the echo function: a single hop, as RFC 5883
// has it, and of IPv4, as FRR has it.
func canEcho(p Path) bool { return p.Peer.Is4() && !p.Multihop }
