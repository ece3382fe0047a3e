// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// An echo packet is a matter of whoever sends it (RFC 5880, section 5): ours has
// the discriminator of the session, and a secret of this process by which others
// are told apart from it.
const echoLength = 4 + 8

// echoFunction is what an error of its socket is about.
type echoFunction struct{}

func (echoFunction) String() string { return "echo function" }

// tendEcho opens or closes the socket of the echo function. It is false if the
// socket is wanted and cannot be had.
func (s *Sessions) tendEcho(wanted bool, readers *errgroup.Group) bool {
	switch {
	case wanted == (s.echo != nil):
	case !wanted:
		s.close(s.echo)
		s.echo = nil
	default:
		socket, err := s.network.openEcho()
		if err != nil {
			s.complain(echoFunction{}, err)
			return false
		}
		s.content(echoFunction{})
		s.echo = socket
		readers.Go(func() error { return s.readEcho(socket) })
	}
	return true
}

// sendEcho sends an echo packet the way that control packets come from.
func (s *Sessions) sendEcho(e *session) {
	if s.echo == nil || e.arrived.index == 0 {
		return
	}
	b := binary.BigEndian.AppendUint32(s.buffer[:0], e.machine.local)
	b = binary.BigEndian.AppendUint64(b, s.echoNonce)
	sent, err := s.echo.sendEcho(e.arrived.index, e.path.Peer, e.arrived.to, b)
	switch {
	case err != nil:
		s.complain(echoFunction{}, err)
	case sent:
		e.counters.echoOut++
	}
}

// readEcho takes echo packets until the socket is closed.
func (s *Sessions) readEcho(socket echoSocket) error {
	var buffer [maxPacket]byte
	for {
		n, err := socket.receiveEcho(buffer[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			s.loseEcho(socket, err)
			return nil
		}
		s.takeEcho(buffer[:n])
	}
}

// loseEcho gives up a socket that has failed, which is then opened again.
func (s *Sessions) loseEcho(socket echoSocket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.echo != socket {
		return
	}
	s.complain(echoFunction{}, err)
	s.close(socket)
	s.echo = nil
	s.tendLater(time.Now())
}

// takeEcho gives an echo packet to its session.
func (s *Sessions) takeEcho(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) < echoLength || binary.BigEndian.Uint64(b[4:]) != s.echoNonce {
		return
	}
	e := s.byDiscriminator[binary.BigEndian.Uint32(b)]
	if e == nil || !e.started {
		return
	}
	e.counters.echoIn++
	e.machine.receiveEcho(time.Now())
	s.plan(e, e.next())
}
