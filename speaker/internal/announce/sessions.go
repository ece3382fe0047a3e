// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// Reasons of Events on BGPPeers.
const (
	eventSessionUp     = "SessionEstablished"
	eventSessionDown   = "SessionDown"
	eventSessionFailed = "SessionFailed"
)

// staleNotification is how old a NOTIFICATION is that has nothing to do with the state
// that began now.
const staleNotification = 10 * time.Second

// SessionSource tells what sessions are like. bgp.Router does.
type SessionSource interface {
	// Changed rings when Snapshot has changed.
	Changed() <-chan struct{}
	// Snapshot returns the sessions, in a map of the caller's own.
	Snapshot() map[bgp.PeerName]bgp.Session
}

// Diagnosed is told which sessions are not as they should be, by peer. Statuses are.
type Diagnosed interface {
	Diagnose(amiss map[string]v1beta1.BGPSessionStatus)
}

// SessionsConfig says of what Sessions tell, and whom. All fields are needed.
type SessionsConfig struct {
	Node      lb.NodeName
	Source    SessionSource
	Guards    *Guards
	Inventory *Inventory
	Events    Events
	Diagnosed Diagnosed
}

// Sessions tell of the BGP sessions of this node in Events on the BGPPeers: when one
// comes up or goes down, and what is in the way of one that does not come up. What is in
// the way is told once, however often it is tried again. What lasts is told for the
// statuses of Services. They also tell Guards with whom there is a session.
type Sessions struct {
	SessionsConfig

	// What follows belongs to Run: what has been told of each peer in Events, and in
	// statuses.
	told     map[bgp.PeerName]toldSession
	settling settling
}

// toldSession is what was last told of a session.
type toldSession struct {
	established bool
	// obstacle is what was in the way.
	obstacle string
	// notified is when there was the NOTIFICATION that was last seen.
	notified time.Time
}

// NewSessions returns sessions that nobody tells of yet.
func NewSessions(c SessionsConfig) *Sessions {
	return &Sessions{
		SessionsConfig: c, told: make(map[bgp.PeerName]toldSession), settling: settling{peers: make(map[bgp.PeerName]*settlingPeer)},
	}
}

// Run tells until ctx ends.
func (s *Sessions) Run(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Source.Changed():
		case <-s.Guards.changed:
		case <-again.C:
		}
		if after := s.look(time.Now()); after > 0 {
			again.Reset(after)
		}
	}
}

// look tells what has changed, and returns after which time there may be more to tell; 0:
// when something changes.
func (s *Sessions) look(at time.Time) (again time.Duration) {
	now := s.Source.Snapshot()
	s.tell(now)
	return s.diagnose(at, now)
}

// tell writes Events about what has changed.
func (s *Sessions) tell(now map[bgp.PeerName]bgp.Session) {
	for name := range s.told {
		if _, ok := now[name]; !ok {
			delete(s.told, name)
			s.Guards.Part(name)
		}
	}
	for name, session := range now {
		if session.State == bgp.Established {
			s.Guards.Meet(name, session.Remote)
		}
		before := s.told[name]
		after := before.then(&session)
		switch {
		case after.established == before.established && after.obstacle == before.obstacle:
		case after.established && !before.established:
			after.obstacle = ""
			s.event(name, corev1.EventTypeNormal, eventSessionUp, fmt.Sprintf("node %q has a session with AS %d", s.Node, session.RemoteASN))
		case before.established && !after.established:
			s.event(name, corev1.EventTypeWarning, eventSessionDown, fmt.Sprintf("node %q has lost its session%s", s.Node, because(after.obstacle)))
		case after.established && after.obstacle != "":
			s.event(name, corev1.EventTypeWarning, eventSessionFailed, fmt.Sprintf("node %q has a session, but not for all routes%s", s.Node, because(after.obstacle)))
		case !after.established && after.obstacle != "":
			s.event(name, corev1.EventTypeWarning, eventSessionFailed, fmt.Sprintf("node %q has no session%s", s.Node, because(after.obstacle)))
		case !after.established:
			after.obstacle = before.obstacle // It may be the same again in a moment.
		}
		s.told[name] = after
	}
}

// then returns what there is to tell of a session now. A NOTIFICATION is seen once: what is
// in the way of the next attempt is something else. One may be known a moment before the
// session is known to be down, and is not seen until then.
func (t toldSession) then(s *bgp.Session) toldSession {
	now := toldSession{established: s.State == bgp.Established, obstacle: hindrance(s), notified: t.notified}
	if now.obstacle == "" && !now.established && !s.LastNotification.Time.Equal(t.notified) {
		now.obstacle, now.notified = lastWords(s), s.LastNotification.Time
	}
	return now
}

// diagnose tells what lasts.
func (s *Sessions) diagnose(at time.Time, now map[bgp.PeerName]bgp.Session) (again time.Duration) {
	amiss := make(map[bgp.PeerName]diagnosis, len(now))
	for name, session := range now {
		state, guarded := s.Guards.state(name)
		amiss[name] = diagnosisOf(name, &session, state, guarded)
	}
	news, again := s.settling.observe(at, amiss)
	if news {
		s.Diagnosed.Diagnose(s.settling.amiss())
	}
	return again
}

// diagnosisOf says what is amiss with a session.
func diagnosisOf(name bgp.PeerName, session *bgp.Session, state bfd.State, guarded bool) diagnosis {
	d := diagnosis{BGPSessionStatus: v1beta1.BGPSessionStatus{Peer: string(name), State: v1beta1.BGPSessionEstablished, Message: hindrance(session)}}
	if guarded {
		d.BFD = state.String()
	}
	switch {
	case session.State != bgp.Established:
		d.State, d.notified = v1beta1.BGPSessionDown, session.LastNotification.Time
		d.LastNotification = shortened(session.LastNotification.String())
	case d.Message == "" && (!guarded || state == bfd.Up):
		return diagnosis{}
	}
	return d
}

// hindrance says what is in the way of a session, or of some of its routes, but for
// NOTIFICATIONs.
func hindrance(s *bgp.Session) string {
	switch {
	case s.Held != "":
		return shortened(s.Held)
	case s.Problem != nil:
		return shortened(s.Problem.Error())
	}
	return ""
}

// shortened returns as much of a text as a status may have, by the API's rules.
func shortened(text string) string {
	const longest = 1024
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}

// lastWords are those of the last NOTIFICATION, if it has to do with the state.
func lastWords(s *bgp.Session) string {
	if s.Since.Sub(s.LastNotification.Time) > staleNotification {
		return ""
	}
	return s.LastNotification.String()
}

func because(obstacle string) string {
	if obstacle == "" {
		return ""
	}
	return ": " + obstacle
}

func (s *Sessions) event(name bgp.PeerName, kind, reason, message string) {
	namespace, uid := s.Inventory.peerUID(string(name))
	if uid == "" {
		return // the peer went in the meantime
	}
	s.Events.Write(kube.Event{
		Service: lb.ServiceName{Namespace: namespace, Name: string(name)}, UID: uid, Type: kind, Reason: reason, Message: message,
		APIVersion: v1beta2.GroupVersion.String(), Kind: "BGPPeer",
	})
}
