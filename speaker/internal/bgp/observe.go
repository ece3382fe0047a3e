// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/herald-lb/herald/internal/lb"
)

// event is a change of state, in gobgp's words.
type event = api.Peer

// states are gobgp's, which count from one.
func stateOf(s api.PeerState_SessionState) State {
	switch s {
	case api.PeerState_UNKNOWN, api.PeerState_IDLE:
		return Idle
	case api.PeerState_CONNECT:
		return Connect
	case api.PeerState_ACTIVE:
		return Active
	case api.PeerState_OPENSENT:
		return OpenSent
	case api.PeerState_OPENCONFIRM:
		return OpenConfirm
	case api.PeerState_ESTABLISHED:
		return Established
	}
	return Idle
}

// observe takes note of a change of state. It is called on a goroutine of gobgp's, and
// perhaps once more after the session has been ended: then it does nothing.
func (s *session) observe(watched context.Context, e *event) {
	state := stateOf(e.State.SessionState)
	var families Families
	var refused bool
	switch state { //nolint:exhaustive // in the others there is nothing to ask
	case Established:
		families = s.negotiated(watched)
	case Idle:
		refused = s.refused(watched)
	}
	s.mu.Lock()
	if watched.Err() != nil {
		s.mu.Unlock()
		return
	}
	if e.State.PeerAsn != 0 {
		s.status.RemoteASN = e.State.PeerAsn
	}
	if id, err := netip.ParseAddr(e.State.RouterId); err == nil && id.Is4() {
		s.status.RemoteID = id
	}
	if state == OpenConfirm && s.intent.peer.Mode == ASNExternal && e.State.PeerAsn == s.intent.peer.LocalASN {
		s.intent.stranger = e.State.PeerAsn
	}
	if state == Established {
		s.status.Local, _ = netip.ParseAddr(e.Transport.GetLocalAddress())
		s.intent.up = true
	}
	refused = refused && s.status.State != Established
	s.status.Families = families
	s.enter(state)
	s.mu.Unlock()
	if refused {
		s.notified(Notification{Time: time.Now(), Received: true})
	}
	ring(s.bell)
	s.tell()
}

// refused says whether the peer has sent a NOTIFICATION since the last look.
func (s *session) refused(ctx context.Context) bool {
	s.mu.Lock()
	sp := s.speaker
	s.mu.Unlock()
	if sp == nil {
		return false
	}
	now := readTraffic(sp.peer(ctx)).notificationsReceived
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.heard
	s.heard = now
	return now > before
}

// negotiated asks for the families of the session that has just come up.
func (s *session) negotiated(ctx context.Context) Families {
	s.mu.Lock()
	sp, ours := s.speaker, s.intent.peer.Families
	s.mu.Unlock()
	if sp == nil {
		return 0
	}
	p := sp.peer(ctx)
	if p == nil || p.State == nil {
		return 0
	}
	return commonFamilies(ours, p.State.RemoteCap)
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
	if old == Established {
		s.status.Families = 0
		s.log.Warn("session ended", logKeyState, state.String(), logKeyNotification, s.status.LastNotification.String())
	}
}

// notified takes note of a NOTIFICATION. It is called on gobgp's goroutines.
func (s *session) notified(n Notification) {
	s.mu.Lock()
	// The same refusal every few seconds is one thing to say.
	last := s.status.LastNotification
	news := last.Received != n.Received || last.Code != n.Code || last.Subcode != n.Subcode
	s.status.LastNotification = n
	s.mu.Unlock()
	if news {
		s.log.Warn("session refused or ended", logKeyNotification, n.String())
	}
	s.tell()
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
	return status, s.intent.wanted
}

// settled says whether the peer has been told everything, if there is anyone to tell.
func (s *session) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State != Established || s.told && s.status.Pending+len(s.changes) == 0
}
