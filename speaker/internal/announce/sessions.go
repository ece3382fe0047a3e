// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
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

// Sessions tell of the BGP sessions of this node in Events on the BGPPeers: when one
// comes up or goes down, and what is in the way of one that does not come up. What is in
// the way is told once, however often it is tried again. They also tell Guards with whom
// there is a session.
type Sessions struct {
	node      lb.NodeName
	source    SessionSource
	guards    *Guards
	inventory *Inventory
	events    Events

	// told is what has been told of each peer; it belongs to Run.
	told map[bgp.PeerName]toldSession
}

// toldSession is what was last told of a session.
type toldSession struct {
	established bool
	// obstacle is what was in the way.
	obstacle string
}

// NewSessions returns sessions that nobody tells of yet.
func NewSessions(node lb.NodeName, source SessionSource, guards *Guards, inventory *Inventory, events Events) *Sessions {
	return &Sessions{
		node: node, source: source, guards: guards, inventory: inventory, events: events,
		told: make(map[bgp.PeerName]toldSession),
	}
}

// Run tells until ctx ends.
func (s *Sessions) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.source.Changed():
			s.look()
		}
	}
}

// look tells what has changed.
func (s *Sessions) look() {
	now := s.source.Snapshot()
	for name := range s.told {
		if _, ok := now[name]; !ok {
			delete(s.told, name)
			s.guards.Part(name)
		}
	}
	for name, session := range now {
		if session.State == bgp.Established {
			s.guards.Meet(name, session.Remote)
		}
		before := s.told[name]
		after := toldSession{established: session.State == bgp.Established, obstacle: obstacle(&session)}
		switch {
		case after == before:
			continue
		case after.established && !before.established:
			after.obstacle = ""
			s.event(name, corev1.EventTypeNormal, eventSessionUp, fmt.Sprintf("node %q has a session with AS %d", s.node, session.RemoteASN))
		case before.established && !after.established:
			s.event(name, corev1.EventTypeWarning, eventSessionDown, fmt.Sprintf("node %q has lost its session%s", s.node, because(after.obstacle)))
		case after.established && after.obstacle != "":
			s.event(name, corev1.EventTypeWarning, eventSessionFailed, fmt.Sprintf("node %q has a session, but not for all routes%s", s.node, because(after.obstacle)))
		case !after.established && after.obstacle != "":
			s.event(name, corev1.EventTypeWarning, eventSessionFailed, fmt.Sprintf("node %q has no session%s", s.node, because(after.obstacle)))
		case !after.established:
			after.obstacle = before.obstacle // It may be the same again in a moment.
		}
		s.told[name] = after
	}
}

// obstacle says what is in the way of a session, or of some of its routes, as far as it
// is known.
func obstacle(s *bgp.Session) string {
	switch {
	case s.Held != "":
		return s.Held
	case s.Problem != nil:
		return s.Problem.Error()
	case s.State == bgp.Established || s.Since.Sub(s.LastNotification.Time) > staleNotification:
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
	namespace, uid := s.inventory.peerUID(string(name))
	if uid == "" {
		return // the peer went in the meantime
	}
	s.events.Write(kube.Event{
		Service: lb.ServiceName{Namespace: namespace, Name: string(name)}, UID: uid, Type: kind, Reason: reason, Message: message,
		APIVersion: v1beta2.GroupVersion.String(), Kind: "BGPPeer",
	})
}
