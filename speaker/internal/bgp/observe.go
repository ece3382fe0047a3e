// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// A session observes its relay. There is one at a time, and none calls after its end.
var _ observer = (*session)(nil)

// entered takes note of a state.
func (s *session) entered(state State) {
	s.mu.Lock()
	s.enter(state)
	if state == Established {
		s.hasBeenUp = true
		ring(s.bell) // there may be something to say about families
	}
	s.mu.Unlock()
	ring(s.progress)
	s.tell()
}

// enter takes note of the state. The caller holds mu.
func (s *session) enter(state State) {
	old := s.status.State
	if old == state {
		return
	}
	s.status.State, s.status.Since = state, time.Now()
	if state == Established {
		s.log.Info("session established", "asn", s.status.RemoteASN, lb.LogKeyFamily, s.status.Families.String())
	}
	if state < OpenConfirm {
		s.status.Families = 0
	}
	if old == Established {
		s.log.Warn("session ended", logKeyState, state.String(), logKeyNotification, s.status.LastNotification.String())
	}
}

// connected takes note of a connection, and has the routes made ready for it.
func (s *session) connected(local netip.Addr) {
	s.mu.Lock()
	s.local, s.unreachable = local, nil
	s.status.Local = local.WithZone("")
	s.intent.up = true
	s.mu.Unlock()
	ring(s.bell)
}

// unreached takes note of why there is no connection. The first reason, which may be how
// the last one ended, is kept until there is one: later reasons differ with the state
// that the router is in, and are not news.
func (s *session) unreached(err error) {
	s.mu.Lock()
	news := s.unreachable == nil
	if news {
		s.unreachable = err
	}
	s.mu.Unlock()
	if news {
		s.log.Warn("peer cannot be reached", lb.LogKeyError, err)
		s.tell()
	} else {
		s.log.Debug("peer cannot be reached", lb.LogKeyError, err)
	}
}

// opened takes note of who the peer is.
func (s *session) opened(o *openMessage) {
	s.mu.Lock()
	s.status.RemoteASN, s.status.RemoteID = o.asn, o.id
	s.status.Families = o.families & s.intent.peer.Families
	s.mu.Unlock()
}

// notified takes note of a NOTIFICATION.
func (s *session) notified(n Notification) {
	s.mu.Lock()
	// The same refusal every few seconds is one thing to say.
	last := s.status.LastNotification
	news := last.Received != n.Received || last.Code != n.Code || last.Subcode != n.Subcode
	s.status.LastNotification = n
	// A Cease at the end of a session is a decision, and no fault.
	s.accused = n.Code != codeCease || s.status.State != Established
	s.mu.Unlock()
	ours := !n.Received && n.Code == codeCease // whoever wanted it knows
	if news && !ours {
		s.log.Warn("session refused or ended", logKeyNotification, n.String())
	}
	s.tell()
}

// remarked takes note of what was wrong with an UPDATE that cost nobody anything.
func (s *session) remarked(what string) {
	s.mu.Lock()
	news := s.remark != what
	s.remark = what
	s.mu.Unlock()
	if news {
		s.log.Warn("peer sends malformed UPDATEs, which are ignored", lb.LogKeyMessage, what)
	}
}

// over takes note of the end of a relay, and when there may be another.
func (s *session) over(err error) {
	now := time.Now()
	s.mu.Lock()
	was, since := s.status.State, s.status.Since
	if err != nil && s.unreachable == nil {
		s.unreachable = fmt.Errorf("connection lost: %w", bare(err))
		if was != Established {
			s.unreachable = fmt.Errorf("the router ends the connection and does not say why; is this node a neighbor there? %w", bare(err))
		}
	}
	s.notBefore = now.Add(s.penance.after(was == Established, now.Sub(since), s.accused))
	s.accused = false
	s.intent.ended = true
	s.enter(Idle)
	s.mu.Unlock()
	ring(s.bell)
	s.tell()
}

// bare returns an error without the ports of the connection: the same thing is the same
// words.
func bare(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

const (
	// leastPenance is the pause after a NOTIFICATION that said what was wrong, doubled each
	// time up to mostPenance (DampPeerOscillations of RFC 4271, 8.1.1).
	leastPenance = 5 * time.Second
	mostPenance  = 80 * time.Second
	// goodConduct is how long a session has to last for the next pause to be short again.
	goodConduct = time.Minute
)

// penance is how often in a row a session has ended by a fault.
type penance int

// after returns the pause before the peer is dialled again.
func (n *penance) after(established bool, lasted time.Duration, fault bool) time.Duration {
	if established && lasted >= goodConduct {
		*n = 0
	}
	if !fault {
		return jitter(DefaultConnectRetry)
	}
	*n = min(*n+1, 5)
	return min(leastPenance<<(*n-1), mostPenance)
}

// report takes note of how far the routes are and what is in the way, and returns it.
func (s *session) report(problem error) error {
	s.mu.Lock()
	news := text(problem) != text(s.status.Problem)
	s.status.Problem = problem
	s.status.Advertised = s.routes.CountActual()
	s.status.Pending = s.routes.CountUpdates() + s.routes.CountDeletions()
	s.told = s.leaving == s.intent.leaving || s.speaker == nil
	s.mu.Unlock()
	ring(s.progress)
	if news && problem != nil {
		s.log.Warn("peer is not as wanted", lb.LogKeyError, problem)
	}
	if news {
		s.tell()
	}
	return problem
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// snapshot returns what there is to say now, and whether the peer is wanted.
func (s *session) snapshot() (status Session, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status = s.status
	status.Peer, status.Held, status.Remote = s.intent.peer, s.intent.held, s.dialled
	status.Pending += len(s.changes)
	if status.Problem == nil {
		status.Problem = s.unreachable
	}
	return status, s.intent.wanted
}

// settled says whether the peer has been told everything, if there is anyone to tell.
func (s *session) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State != Established || s.told && s.status.Pending+len(s.changes) == 0
}
