// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// Gossip knows members and carries messages. gossip.Members do.
type Gossip interface {
	Membership
	Messenger
}

// Membership is the part of Gossip about members.
type Membership interface {
	// SetPeers says which nodes there are and at which addresses.
	SetPeers(nodes map[lb.NodeName][]netip.Addr)
	// Alive returns the members, this one included, in a map of the caller's own.
	Alive() map[lb.NodeName]struct{}
	// Changed rings when Alive has changed.
	Changed() <-chan struct{}
	// Settled is closed when Alive can be believed.
	Settled() <-chan struct{}
	// Left says whether one that is not alive has taken its leave.
	Left(lb.NodeName) bool
}

// Messenger is the part of Gossip about messages.
type Messenger interface {
	// Tell sends a message to all speakers at once; it may be lost.
	Tell([]byte)
	// Told has the messages of others.
	Told() <-chan []byte
	// Seek asks a speaker now that seems dead and is not.
	Seek(lb.NodeName)
}

// BFD watches paths. bfd.Sessions do.
type BFD interface {
	Set(bfd.Path, bfd.Config) error
	Remove(bfd.Path)
	// Heard is when a path was heard of last; zero: it is silent.
	Heard(bfd.Path) time.Time
}

// LAN is where addresses are announced. layer2.Announcer is.
type LAN interface {
	// Ask asks who has any of the addresses, and says whether anybody was heard. With
	// linger, it waits until anybody is.
	Ask(ctx context.Context, addresses []layer2.Announcement, linger bool) (o layer2.Outcome, others bool)
	// Extend lets this node answer until then, and no longer; zero: for ever.
	Extend(until time.Time)
	// Renew announces all addresses again.
	Renew()
}

// Heir knows what this node would have to announce if another were gone. announce.Loop
// does.
type Heir interface {
	// Inheritance returns some of the addresses that the node owns and that would be
	// this one's, as it would announce them; false: it could not be found out.
	Inheritance(ctx context.Context, from lb.NodeName) ([]layer2.Announcement, bool)
}

// Config says what a Vigil works with. All fields are needed.
type Config struct {
	Node lb.NodeName
	// Address is the one that other speakers reach this one at.
	Address netip.Addr
	// Interval is the time between two packets of a session.
	Interval time.Duration

	Gossip Gossip
	BFD    BFD
	LAN    LAN
	// Heir is set before Run.
	Heir Heir

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Vigil watches the other speakers. Its methods are safe for concurrent use.
type Vigil struct {
	Config
	metrics *metrics
	changed chan struct{}
	settled chan struct{}
	moved   chan struct{} // bell: nodes have changed, or sessions have
	answers chan answer
	ready   chan lb.NodeName // who answers now for all that is its own
	told    atomic.Uint64    // the number of our last message

	mu      sync.Mutex // guards what follows
	changes []bfd.Change
	present map[lb.NodeName]struct{}
	peers   map[lb.NodeName]netip.Addr
	byPath  map[bfd.Path]lb.NodeName
	up      map[bfd.Path]struct{} // those of byPath whose sessions are up

	// What follows belongs to the goroutine of Run.
	machine *suspect.Machine
	known   map[lb.NodeName]struct{} // members that have been seen
	paths   map[lb.NodeName]watched
	heard   map[topic]uint64 // the number of the last message on each topic
	pulse   time.Time        // when this goroutine last came round
	doubts  doubts
}

// watched is a session that has been set.
type watched struct {
	path   bfd.Path
	config bfd.Config
}

// New returns a Vigil that watches nobody.
func New(c Config) *Vigil {
	v := &Vigil{
		Config:  c,
		changed: make(chan struct{}, 1), settled: make(chan struct{}), moved: make(chan struct{}, 1),
		answers: make(chan answer), ready: make(chan lb.NodeName, readyRoom),
		present: map[lb.NodeName]struct{}{c.Node: {}},
		byPath:  make(map[bfd.Path]lb.NodeName), up: make(map[bfd.Path]struct{}),
		machine: suspect.New(c.Node),
		known:   make(map[lb.NodeName]struct{}),
		paths:   make(map[lb.NodeName]watched),
		heard:   make(map[topic]uint64),
	}
	v.told.Store(uint64(time.Now().UnixNano())) // more than before a restart
	v.metrics = newMetrics(c.Registerer, v)
	return v
}

// SetPeers says which nodes there are and at which addresses.
func (v *Vigil) SetPeers(nodes map[lb.NodeName][]netip.Addr) {
	peers := make(map[lb.NodeName]netip.Addr, len(nodes))
	for name, addresses := range nodes {
		for _, a := range addresses {
			if name != v.Node && a.Is4() == v.Address.Is4() {
				peers[name] = a
				break
			}
		}
	}
	v.mu.Lock()
	v.peers = peers
	v.mu.Unlock()
	v.Gossip.SetPeers(nodes)
	ring(v.moved)
}

// Alive returns the speakers that are present, this one included, in a map of the
// caller's own.
func (v *Vigil) Alive() map[lb.NodeName]struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.present)
}

// Changed rings when Alive has changed.
func (v *Vigil) Changed() <-chan struct{} { return v.changed }

// Settled is closed when Alive can be believed.
func (v *Vigil) Settled() <-chan struct{} { return v.settled }

// OnChange takes note of a change of a session.
func (v *Vigil) OnChange(c bfd.Change) {
	v.mu.Lock()
	v.changes = append(v.changes, c)
	if c.State == bfd.Up {
		v.up[c.Path] = struct{}{}
	} else {
		delete(v.up, c.Path)
	}
	v.mu.Unlock()
	ring(v.moved)
}

// SayReady tells the others that this node answers for all addresses that are its own:
// those that had them may stop.
func (v *Vigil) SayReady() { v.tell(encode(kindReady, v.Node, v.Node, v.number())) }

// Ready has the speakers that say they answer for all that is their own.
func (v *Vigil) Ready() <-chan lb.NodeName { return v.ready }

// ring rings a bell of capacity one.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
