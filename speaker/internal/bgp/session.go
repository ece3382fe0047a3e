// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/herald-lb/herald/internal/delta"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// retryAfter is the pause before another attempt of what has failed, doubled up to
	// retryAtMost.
	retryAfter  = time.Second
	retryAtMost = 30 * time.Second
	// patience is the number of failures after which the pause is the longest.
	patience = 5
	// release is how long gobgp may take to let go of a peer whose connection is gone.
	release = 2 * time.Second
)

// session is one peer and what it is to be sent. What is wanted is left under mu by
// whoever wants it; one goroutine, that of run, makes it so.
type session struct {
	name  PeerName
	log   *slog.Logger
	pool  *pool
	links *links
	tell  func()        // what Snapshot says has changed
	bell  chan struct{} // something is left under mu
	// urgent says that it is more than routes, for which a long table is put aside.
	urgent atomic.Bool
	// progress rings after each step.
	progress chan<- struct{}
	events   *listener

	mu      sync.Mutex // guards what follows
	intent  intent
	changes map[netip.Prefix]change
	status  Session
	told    bool // the routes say what intent.leaving says
	// unreachable is why there is no connection; nil if there is one, or has not been time
	// for one.
	unreachable error
	remark      string
	local       netip.Addr // of the last connection, with its zone
	hasBeenUp   bool
	// accused says that a NOTIFICATION has said what was wrong, penance how often in a row
	// that was so, and notBefore when the peer may be dialled again.
	accused   bool
	penance   penance
	notBefore time.Time
	dialled   netip.Addr // written by run only

	tally tally

	// What follows belongs to the goroutine of run.
	routes  *delta.Tracker[netip.Prefix, route]
	speaker *speaker
	peer    Peer // that the speaker was started for
	relay   *relay
	watcher *watcher
	watched context.CancelFunc
	// reached says that the relay has reached the peer, and hops are those of this or an
	// earlier connection. They are zero before the first.
	reached  bool
	hops     nextHops
	leaving  bool
	encoded  map[encodingKey][][]byte
	freed    chan struct{}
	failures int
}

// intent is what is wanted of a session but for its routes.
type intent struct {
	peer    Peer // with defaults
	wanted  bool
	invalid error
	held    string
	leaving bool
	// expected says that there are routes to come that the peer is to hear first.
	expected bool
	// up says that the relay has reached the peer since the last look, ended that it has
	// ended.
	up, ended bool
}

// change is what has been said about a prefix since the last look.
type change struct {
	attributes attributes
	withdrawn  bool
}

type encodingKey struct {
	route  route
	family Families
}

func newSession(name PeerName, r *Router) *session {
	s := &session{
		name: name, log: r.log.With(logKeyPeer, string(name)), pool: &r.pool, links: r.links,
		tell:     func() { ring(r.changed) },
		bell:     make(chan struct{}, 1),
		progress: r.progress,
		changes:  make(map[netip.Prefix]change),
		routes:   delta.NewComparable[netip.Prefix, route](),
		encoded:  make(map[encodingKey][][]byte),
		freed:    make(chan struct{}, 1),
	}
	s.events = &listener{log: s.log, freed: func() { ring(s.freed) }}
	return s
}

// ring leaves a mark on a channel of capacity one.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// want changes the intent and rings.
func (s *session) want(edit func(*intent)) {
	s.mu.Lock()
	edit(&s.intent)
	s.mu.Unlock()
	s.urgent.Store(true)
	ring(s.bell)
}

// change leaves what is wanted of a prefix.
func (s *session) change(p netip.Prefix, c change) {
	s.mu.Lock()
	s.changes[p] = c
	s.mu.Unlock()
	ring(s.bell)
}

// run makes the session what it is wanted to be until ctx ends, or until nothing is
// wanted of it and retire agrees.
func (s *session) run(ctx context.Context, retire func(*session) bool) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			s.leave(context.WithoutCancel(ctx))
			return
		case <-s.bell:
		case <-retry.C:
		}
		if err := s.converge(ctx); err != nil {
			s.failures++
			retry.Reset(min(retryAfter<<min(s.failures-1, patience), retryAtMost))
		} else {
			s.failures = 0
		}
		if s.speaker == nil && retire(s) {
			return
		}
	}
}

// idle says whether nothing is wanted of the session any more. The caller holds mu, and
// run stands still.
func (s *session) idle() bool {
	return !s.intent.wanted && s.intent.held == "" && s.speaker == nil &&
		len(s.changes) == 0 && s.routes.CountDesired() == 0
}

// converge takes one step, and rings if there is another to take. An error is what
// keeps something undone; the rest is done nevertheless.
func (s *session) converge(ctx context.Context) error {
	in, changes := s.take()
	err := s.end(ctx, &in)
	if err != nil || !in.wanted || in.invalid != nil {
		s.absorb(changes)
		return s.report(errors.Join(err, in.invalid))
	}
	address, err := s.begin(ctx, &in)
	s.absorb(changes) // after begin, which finds the next hops
	if err != nil && !s.dialled.IsValid() {
		return s.report(err)
	}
	// A session that is up goes on with the next hops it has: there may be routes to
	// withdraw.
	interrupted, failed := s.send(ctx)
	err = errors.Join(err, failed)
	switch {
	case interrupted: // the bell has rung
	case in.held == "" && !s.dialled.IsValid():
		err = errors.Join(err, s.dial(ctx, address))
	case s.reached && s.hops != nextHops{} && !in.expected: // else the table is not what it should be
		s.relay.proceed()
	}
	_ = s.report(errors.Join(err, s.unspoken())) // the second is not ours to try again
	return err
}

// take returns what is wanted, of the routes what has changed.
func (s *session) take() (intent, map[netip.Prefix]change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.intent
	s.intent.up, s.intent.ended = false, false
	var changes map[netip.Prefix]change
	if len(s.changes) > 0 { // the caller must own what it gets
		changes, s.changes = s.changes, make(map[netip.Prefix]change)
	}
	s.urgent.Store(false)
	return in, changes
}

// end ends what is there and not wanted: the session with the peer, or the speaker too.
func (s *session) end(ctx context.Context, in *intent) error {
	other := s.speaker != nil && (!in.wanted || in.invalid != nil || in.peer != s.peer)
	if s.dialled.IsValid() && (other || in.held != "" || in.ended || s.moved(in)) {
		if err := s.hangUp(ctx, cease(reasonToEnd(in))); err != nil {
			return err
		}
		in.up = false
		if !in.ended {
			s.forgive()
		}
	}
	if !other {
		return nil
	}
	return s.dismiss(ctx)
}

// reasonToEnd is what the peer is told.
func reasonToEnd(in *intent) byte {
	switch {
	case !in.wanted || in.invalid != nil:
		return ceaseDeconfigured
	case in.held != "":
		return ceaseBFDDown
	}
	return ceaseOtherChange
}

func cease(subcode byte) *Notification { return &Notification{Code: codeCease, Subcode: subcode} }

// forgive has the peer dialled at once: it is not what it was.
func (s *session) forgive() {
	s.mu.Lock()
	s.penance, s.notBefore, s.unreachable = 0, time.Time{}, nil
	s.mu.Unlock()
}

// moved says whether an unnumbered peer is now another one.
func (s *session) moved(in *intent) bool {
	if in.peer.Interface == "" {
		return false
	}
	now, ok := s.links.neighbor(in.peer.Interface)
	return ok && now != s.dialled
}

// begin has a speaker ready, and says where the peer is.
func (s *session) begin(ctx context.Context, in *intent) (netip.Addr, error) {
	if s.speaker == nil {
		sp, err := s.pool.get(ctx, speakerConfig{asn: in.peer.LocalASN, routerID: in.peer.RouterID}, s.events)
		if err != nil {
			return netip.Addr{}, err
		}
		s.speaker = sp
		s.peer = in.peer
		s.hops = nextHops{}
	}
	address := in.peer.Address
	if in.peer.Interface != "" {
		var ok bool
		if address, ok = s.links.neighbor(in.peer.Interface); !ok {
			return netip.Addr{}, fmt.Errorf("no router advertisement has come on %s", in.peer.Interface)
		}
	}
	hops := s.hops
	if in.up {
		s.reached = true
	}
	var err error
	if in.up || s.reached && s.failures > 0 {
		s.mu.Lock()
		local := s.local
		s.mu.Unlock()
		hops, err = findNextHops(&s.peer, local)
	}
	if hops != s.hops || in.leaving != s.leaving {
		s.hops, s.leaving = hops, in.leaving
		s.resolveAgain()
	}
	return address, err
}

// dial starts a session with the peer: a relay that dials it, and gobgp that dials the
// relay.
func (s *session) dial(ctx context.Context, address netip.Addr) error {
	// Both end with hangUp.
	forever := context.WithoutCancel(ctx)
	r, err := newRelay(ctx, s.peer, address, &s.tally, s)
	if err != nil {
		return err
	}
	watched, cancel := context.WithCancel(forever)
	watcher := newWatcher(r.claim)
	s.mu.Lock()
	restarting := !s.hasBeenUp
	s.mu.Unlock()
	if err = s.speaker.watch(watched, watcher); err == nil {
		err = s.speaker.dial(ctx, &s.peer, r.port(), restarting)
	}
	if err != nil {
		cancel()
		return errors.Join(err, r.listener.Close())
	}
	s.mu.Lock()
	r.notBefore = s.notBefore
	s.dialled = address
	s.mu.Unlock()
	s.relay, s.watcher, s.watched = r, watcher, cancel
	r.start(forever)
	return nil
}

// hangUp ends the session, with a last word to the peer if there is one to say, and
// waits until gobgp has let go of it.
func (s *session) hangUp(ctx context.Context, cease *Notification) error {
	s.relay.stop(cease)
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), release)
	defer cancel()
	s.watcher.settled(releasing)
	s.watched()
	s.reached = false
	select {
	case <-s.freed: // of an earlier one that took too long
	default:
	}
	if err := s.speaker.hangUp(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.dialled = netip.Addr{}
	s.intent.up, s.intent.ended = false, false
	s.mu.Unlock()
	select {
	case <-s.freed:
	case <-releasing.Done():
		s.log.Warn("gobgp does not let go of the peer, its speaker is abandoned")
		s.speaker.log.listener.Store(nil)
		s.forget()
	}
	return nil
}

// dismiss gives the speaker back.
func (s *session) dismiss(ctx context.Context) error {
	sp := s.speaker
	s.forget()
	if sp == nil {
		return nil
	}
	return s.pool.put(ctx, sp)
}

// forget has no speaker any more, and nothing sent.
func (s *session) forget() {
	s.speaker = nil
	s.hops = nextHops{}
	var sent []netip.Prefix
	for p := range s.routes.AllActual() {
		sent = append(sent, p)
	}
	for _, p := range sent {
		s.routes.DeleteActual(p)
	}
}

// leave is what happens when the process ends; see Leaving.
func (s *session) leave(ctx context.Context) {
	if !s.dialled.IsValid() {
		return
	}
	word := cease(ceaseShutdown)
	if s.peer.GracefulRestart && !s.leaving {
		word = nil // a NOTIFICATION would end it (RFC 4724, 4)
	}
	if err := s.hangUp(ctx, word); err != nil {
		s.log.Warn("session not ended in order", lb.LogKeyError, err)
	}
}
