// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says what a Router works with. All fields are needed.
type Config struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Router has sessions with peers, and advertises prefixes to them. Its methods are safe
// for concurrent use; those that say what is wanted only take note of it and return at
// once, before and while Run runs. To say the same twice has no effect.
type Router struct {
	log      *slog.Logger
	pool     pool
	links    *links
	changed  chan struct{}
	progress chan struct{}

	mu       sync.Mutex // guards what follows
	sessions map[PeerName]*session
	leaving  leaving
	// start starts the goroutine of a session. It is nil while Run does not run.
	start func(*session)
}

// leaving is what Leave wants.
type leaving struct {
	some bool // peers that do not help a graceful restart
	all  bool
	// drain is what Drain wants.
	drain bool
}

// New returns a router without peers.
func New(c Config) *Router {
	r := &Router{
		log:      c.Log,
		changed:  make(chan struct{}, 1),
		progress: make(chan struct{}, 1),
		sessions: make(map[PeerName]*session),
	}
	r.links = newLinks(c.Log, r.wake)
	c.Registerer.MustRegister(newCollector(r))
	return r
}

// Peers says which peers there are: those and no others. Call it after Advertise, so that
// a new peer finds a full table (RFC 4724, 4.1). A peer that is not valid is
// not dialled, and its Session has the Problem. Paths are kept for a peer that is not
// there, until they are withdrawn.
func (r *Router) Peers(peers map[PeerName]Peer) { r.setPeers(peers, false) }

// Expect says which peers there will be, when what they are to have is not all known yet.
// They are dialled, which takes gobgp a second or two, and hear nothing before Peers.
func (r *Router) Expect(peers map[PeerName]Peer) { r.setPeers(peers, true) }

func (r *Router) setPeers(peers map[PeerName]Peer, expected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range peers {
		r.session(name)
	}
	unnumbered := make(map[string]struct{})
	for name, s := range r.sessions {
		p, wanted := peers[name]
		var invalid error
		if wanted {
			p, invalid = p.withDefaults()
		}
		if wanted && p.Interface != "" {
			unnumbered[p.Interface] = struct{}{}
		}
		s.want(func(in *intent) {
			in.peer, in.wanted, in.invalid, in.expected = p, wanted, invalid, expected
			in.leaving = r.leaving.includes(&p)
		})
	}
	r.links.follow(unnumbered)
}

// Advertise says that a prefix is to be advertised to a peer in this way. The error is
// about the path and lasting.
func (r *Router) Advertise(k PathKey, p Path) error {
	if err := checkPath(k.Prefix, &p); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session(k.Peer).change(k.Prefix, change{attributes: newAttributes(&p)})
	return nil
}

// Withdraw says that a prefix is not to be advertised to a peer.
func (r *Router) Withdraw(k PathKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sessions[k.Peer]; ok {
		s.change(k.Prefix, change{withdrawn: true})
	}
}

// Hold ends the session with a peer at once, if there is one, and keeps it from coming
// back until Release. The reason is for humans. It works for a peer that is yet to come
// too. This is what BFD calls (RFC 5882, 4.2).
func (r *Router) Hold(name PeerName, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session(name).want(func(in *intent) { in.held = reason })
}

// Release ends Hold.
func (r *Router) Release(name PeerName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sessions[name]; ok {
		s.want(func(in *intent) { in.held = "" })
	}
}

// Changed rings when Snapshot has changed.
func (r *Router) Changed() <-chan struct{} { return r.changed }

// Snapshot returns the sessions with all peers there are, in a map of the caller's own.
func (r *Router) Snapshot() map[PeerName]Session {
	all := make(map[PeerName]Session)
	for name, s := range r.clone() {
		if snapshot, wanted := s.snapshot(); wanted {
			all[name] = snapshot
		}
	}
	return all
}

// Leave asks all peers to prefer other paths (RFC 8326), and returns after they have
// been asked and wait has passed. Peers that help a graceful restart are left out and
// keep their routes, unless withdraw is true: then they too are asked, and get a Cease
// at the end of Run. The error is that of ctx.
func (r *Router) Leave(ctx context.Context, wait time.Duration, withdraw bool) error {
	r.leave(func(l *leaving) { l.some, l.all = true, withdraw })
	for !r.settled() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.progress:
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Drain asks all peers to prefer other paths (RFC 8326) until it is taken back with false.
// Peers that help a graceful restart are no exception: this node is not expected back.
func (r *Router) Drain(on bool) { r.leave(func(l *leaving) { l.drain = on }) }

func (r *Router) leave(edit func(*leaving)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.leaving)
	for _, s := range r.sessions {
		s.want(func(in *intent) { in.leaving = r.leaving.includes(&in.peer) })
	}
}

func (l leaving) includes(p *Peer) bool { return l.all || l.drain || l.some && !p.GracefulRestart }

func (r *Router) settled() bool {
	for _, s := range r.clone() {
		if !s.settled() {
			return false
		}
	}
	return true
}

// Run makes it all so until ctx ends; see Leaving in the package's documentation. It
// returns nil, and is called once.
func (r *Router) Run(ctx context.Context) error {
	var running sync.WaitGroup
	r.mu.Lock()
	r.start = func(s *session) { running.Go(func() { s.run(ctx, r.retire) }) }
	for _, s := range r.sessions {
		r.start(s)
	}
	r.mu.Unlock()
	err := r.links.run(ctx)
	r.mu.Lock()
	r.start = nil
	r.mu.Unlock()
	running.Wait()
	if err != nil {
		return fmt.Errorf("look for unnumbered peers: %w", err)
	}
	return nil
}

// session returns the session of this name, a new one if need be. The caller holds mu.
func (r *Router) session(name PeerName) *session {
	s, ok := r.sessions[name]
	if !ok {
		s = newSession(name, r)
		r.sessions[name] = s
		if r.start != nil {
			r.start(s)
		}
	}
	return s
}

// retire drops a session of which nothing is wanted, and says whether it did.
func (r *Router) retire(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle() {
		return false
	}
	delete(r.sessions, s.name)
	return true
}

func (r *Router) clone() map[PeerName]*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.sessions)
}

// wake has sessions look at where their peers are.
func (r *Router) wake() {
	for _, s := range r.clone() {
		ring(s.bell)
	}
}
