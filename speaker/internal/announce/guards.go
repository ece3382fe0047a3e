// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// silence is how long a peer that is held is listened for.
const silence = 10 * time.Second

// BFD watches paths. bfd.Sessions do. Its methods do not block.
type BFD interface {
	Set(bfd.Path, bfd.Config) error
	Remove(bfd.Path)
	Status(bfd.Path) (bfd.Status, bool)
}

// Holder keeps sessions down. bgp.Router does. Its methods do not block.
type Holder interface {
	Hold(name bgp.PeerName, reason string)
	Release(name bgp.PeerName)
}

// Guard is the BFD session that guards a BGP session.
type Guard struct {
	Path   bfd.Path
	Config bfd.Config
}

// Guards tie BGP sessions to BFD sessions (RFC 5882, section 4): when BFD finds the path
// to a peer failed, the BGP session ends at once, and stays down until BFD is up again.
//
// A BFD session begins when the BGP session is first established. Begun before, it may be
// up sooner, and FRR begins its own anew when it takes a neighbor of a listen range over
// for good: that looks like a failure, on both sides, and ends the BGP session each time.
//
// There is one way out besides: a router may have its BFD session only as long as it has
// the BGP session, as FRR does with neighbors that it does not know beforehand (bgp
// listen range). Each would wait for the other for ever. A peer from which BFD has heard
// nothing at all for silence is therefore let go. If its path is broken, no session will
// come up over it, and if BFD is about to come up, there is something to hear (ADR 0014).
//
// A peer that goes down administratively has not failed, and keeps its session (section
// 3.2): so graceful restart works with BFD. A BFD session that has never been up holds
// nothing: a router on which BFD is yet to be configured can be spoken to.
//
// All methods are safe for concurrent use.
type Guards struct {
	bfd  BFD
	log  *slog.Logger
	bell chan struct{} // a peer is held
	// changed rings when a BFD session is in another state.
	changed chan struct{}

	mu     sync.Mutex // guards what follows
	holder Holder
	// wanted are the guards as they were asked for, met the peers with which there has been
	// a BGP session, by their addresses, and paths what both come to.
	wanted map[bgp.PeerName]Guard
	met    map[bgp.PeerName]netip.Addr
	paths  map[bgp.PeerName]Guard
	peers  map[bfd.Path]bgp.PeerName
	// held are the peers whose path has failed, each with the time since which nothing
	// has been heard of it; zero while something is.
	held map[bgp.PeerName]time.Time
}

// NewGuards returns guards of no session. OnChange must be called with all changes of
// sessions.
func NewGuards(sessions BFD, holder Holder, log *slog.Logger) *Guards {
	return &Guards{
		bfd: sessions, holder: holder, log: log, bell: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		met:   make(map[bgp.PeerName]netip.Addr),
		paths: make(map[bgp.PeerName]Guard), peers: make(map[bfd.Path]bgp.PeerName), held: make(map[bgp.PeerName]time.Time),
	}
}

// Set says which peers are guarded, and how: those and no others, each once there has
// been a BGP session with it. The path to an unnumbered peer has an interface and no
// address.
func (g *Guards) Set(wanted map[bgp.PeerName]Guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = wanted
	g.apply()
}

// Meet says that there is a BGP session with a peer, and at which address. That is kept
// when the session is over: BFD may have to say when the path is good again.
func (g *Guards) Meet(name bgp.PeerName, a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if met, ok := g.met[name]; !ok || met != a {
		g.met[name] = a
		g.apply()
	}
}

// Part forgets a peer that there is no more.
func (g *Guards) Part(name bgp.PeerName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.met, name)
	g.apply()
}

// apply makes the sessions what they should be. The caller holds the lock, as in all
// that follows.
func (g *Guards) apply() {
	complete := make(map[bgp.PeerName]Guard, len(g.wanted))
	for name, guard := range g.wanted {
		at, ok := g.met[name]
		if !guard.Path.Peer.IsValid() {
			guard.Path.Peer = at.WithZone("")
		}
		if ok && guard.Path.Peer.IsValid() {
			complete[name] = guard
		}
	}
	for name, old := range g.paths {
		if now, ok := complete[name]; !ok || now.Path != old.Path {
			g.remove(name, old.Path)
		}
	}
	for name, guard := range complete {
		g.set(name, guard)
	}
}

// Run lets go of peers that are silent, until ctx ends.
func (g *Guards) Run(ctx context.Context) error {
	const pace = time.Second
	timer := time.NewTimer(pace)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.bell:
		case <-timer.C:
		}
		if g.listen(time.Now()) {
			timer.Reset(pace)
		}
	}
}

// listen looks at the peers that are held, and says whether there are any.
func (g *Guards) listen(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, since := range g.held {
		status, ok := g.bfd.Status(g.paths[name].Path)
		switch silent := ok && status.DetectionTime == 0; {
		case !silent:
			g.held[name] = time.Time{}
		case since.IsZero():
			g.held[name] = now
		case now.Sub(since) >= silence:
			g.log.Warn("peer is let go: BFD has not heard of it", logKeyPeers, string(name))
			delete(g.met, name)
			g.remove(name, g.paths[name].Path)
		}
	}
	return len(g.held) > 0
}

func (g *Guards) remove(name bgp.PeerName, path bfd.Path) {
	g.bfd.Remove(path)
	delete(g.paths, name)
	delete(g.peers, path)
	g.release(name)
}

func (g *Guards) set(name bgp.PeerName, guard Guard) {
	if old, ok := g.paths[name]; ok && old == guard {
		return
	}
	if err := g.bfd.Set(guard.Path, guard.Config); err != nil {
		g.log.Error("session is not guarded", logKeyPeers, string(name), lb.LogKeyError, err)
		return
	}
	g.paths[name], g.peers[guard.Path] = guard, name
}

// state returns the state of the BFD session that guards a peer, and whether there is one.
func (g *Guards) state(name bgp.PeerName) (state bfd.State, guarded bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	guard, ok := g.paths[name]
	if !ok {
		return 0, false
	}
	status, ok := g.bfd.Status(guard.Path)
	return status.State, ok
}

// OnChange takes note of a change of a BFD session.
func (g *Guards) OnChange(c bfd.Change) {
	ring(g.changed)
	g.mu.Lock()
	defer g.mu.Unlock()
	name, ok := g.peers[c.Path]
	switch {
	case !ok:
	case c.State == bfd.Up || c.AdministrativelyDown():
		g.release(name)
	case c.Failure():
		g.held[name] = time.Time{}
		ring(g.bell)
		g.holder.Hold(name, fmt.Sprintf("BFD down: %s", c.Diagnostic))
	}
}

func (g *Guards) release(name bgp.PeerName) {
	if _, ok := g.held[name]; ok {
		delete(g.held, name)
		g.holder.Release(name)
	}
}
