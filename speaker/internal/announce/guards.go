// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// BFD watches paths. bfd.Sessions do. Its methods do not block.
type BFD interface {
	Set(bfd.Path, bfd.Config) error
	Remove(bfd.Path)
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
// A peer that goes down administratively has not failed, and keeps its session (section
// 3.2): so graceful restart works with BFD. A BFD session that has never been up holds
// nothing: a router on which BFD is yet to be configured can be spoken to.
//
// All methods are safe for concurrent use.
type Guards struct {
	bfd BFD
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	holder Holder
	paths  map[bgp.PeerName]Guard
	peers  map[bfd.Path]bgp.PeerName
	// held are the peers whose path has failed.
	held map[bgp.PeerName]bool
}

// NewGuards returns guards of no session. OnChange must be called with all changes of
// sessions.
func NewGuards(sessions BFD, holder Holder, log *slog.Logger) *Guards {
	return &Guards{
		bfd: sessions, holder: holder, log: log,
		paths: make(map[bgp.PeerName]Guard), peers: make(map[bfd.Path]bgp.PeerName), held: make(map[bgp.PeerName]bool),
	}
}

// Set says which peers are guarded, and how: those and no others.
func (g *Guards) Set(wanted map[bgp.PeerName]Guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, old := range g.paths {
		if now, ok := wanted[name]; !ok || now.Path != old.Path {
			g.remove(name, old.Path)
		}
	}
	for name, guard := range wanted {
		g.set(name, guard)
	}
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

// OnChange takes note of a change of a BFD session.
func (g *Guards) OnChange(c bfd.Change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, ok := g.peers[c.Path]
	switch {
	case !ok:
	case c.State == bfd.Up || c.AdministrativelyDown():
		g.release(name)
	case c.Failure():
		g.held[name] = true
		g.holder.Hold(name, fmt.Sprintf("BFD down: %s", c.Diagnostic))
	}
}

func (g *Guards) release(name bgp.PeerName) {
	if g.held[name] {
		delete(g.held, name)
		g.holder.Release(name)
	}
}
