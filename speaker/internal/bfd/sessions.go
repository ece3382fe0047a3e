// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultFarewell is how long Run at most waits at its end.
const DefaultFarewell = time.Second

// Options of Sessions. All fields but Log may be left zero.
type Options struct {
	Log *slog.Logger
	// Registerer gets the metrics, unless it is nil.
	Registerer prometheus.Registerer
	// OnChange is told of every change of every session, one at a time and those
	// of a session in their order. It is called without a lock, by a goroutine of
	// Run that does nothing else: it may call any method, and may take its time,
	// which delays other changes and no packet. Run waits for it at its end.
	OnChange func(Change)
	// Random is the source of jitter and discriminators, used by one goroutine at
	// a time; nil is one that is seeded well.
	Random rand.Source
	// Farewell is how long Run at most waits for neighbors to hear that their
	// sessions go down on purpose; 0 is DefaultFarewell.
	Farewell time.Duration
	// Port is the UDP port of the sessions, at both ends, in place of those of RFC 5881
	// and RFC 5883: for systems that run this package at both ends and are to get along
	// with another BFD daemon on the node. 0: the port that the path demands.
	Port uint16
	// Together has the periodic packets of several sessions leave in one go: when one is
	// due, those that the jitter of RFC 5880, section 6.8.7, allows to be sent go with it.
	// That saves wake-ups, which are most of what few and fast sessions cost. It suits
	// sessions with systems that do not share a bottleneck, and few enough of them to be
	// sent at once.
	Together bool

	network network // nil is the kernel
}

// Sessions are the BFD sessions of this node. Its methods may be called from
// several goroutines at once, before, during and after Run.
type Sessions struct {
	log      *slog.Logger
	onChange func(Change)
	farewell time.Duration
	network  network
	together bool
	bell     chan struct{} // sessions have come or gone, or a deadline is earlier
	news     chan struct{} // there are changes to tell

	mu              sync.Mutex // guards what follows
	random          *rand.Rand
	byPath          map[Path]*session
	byDiscriminator map[uint32]*session
	byPeer          map[netip.Addr][]*session
	starting        []*session // their sockets are not open yet
	queue           queue
	ripe            []*session // room for goTogether
	armed           time.Time  // when the timer of Run rings; zero: never
	tendAt          time.Time  // when to look after sockets; zero: no need
	receivers       map[entrance]receiver
	echo            echoSocket // nil unless a session wants it
	echoNonce       uint64     // tells our echo packets from those of others
	lateness        lateness
	complaints      map[fmt.Stringer]string // the last error logged, by what it is about
	changes         []Change
	nextPort        uint16
	buffer          [packetLength]byte // for packets to send
}

// New returns Sessions, of which there are none.
func New(o Options) *Sessions {
	s := &Sessions{
		log: o.Log, onChange: o.OnChange, farewell: o.Farewell, network: o.network, together: o.Together,
		bell: make(chan struct{}, 1), news: make(chan struct{}, 1),
		byPath:          make(map[Path]*session),
		byDiscriminator: make(map[uint32]*session),
		byPeer:          make(map[netip.Addr][]*session),
		receivers:       make(map[entrance]receiver),
		complaints:      make(map[fmt.Stringer]string),
		nextPort:        firstSourcePort,
	}
	setDefault(&s.farewell, DefaultFarewell)
	if s.network == nil {
		s.network = kernel{port: o.Port}
	}
	if o.Random == nil {
		o.Random = rand.NewPCG(rand.Uint64(), rand.Uint64())
	}
	s.random = rand.New(o.Random)
	s.echoNonce = s.random.Uint64()
	if o.Registerer != nil {
		o.Registerer.MustRegister(newMetrics(s))
	}
	return s
}

// Set begins to watch a path, or changes how it is watched: the session goes on,
// and the new intervals are agreed on with the peer. To set what is set already
// has no effect. It does not block and sends nothing before Run. An error says
// what is wrong with the arguments; what the network has against a path is logged
// and tried to overcome.
func (s *Sessions) Set(p Path, c Config) error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("set BFD session: %w", err)
	}
	c, err := c.complete()
	if err != nil {
		return fmt.Errorf("set BFD session with %s: %w", p.Peer, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.byPath[p]; e != nil {
		if e.machine.config != c {
			s.apply(e, e.machine.configure(c, now), now)
			s.tendSoon(now) // the echo function may need a socket
		}
		return nil
	}
	s.forgetLeaving(p, now)
	e := &session{path: p, index: absent, machine: newMachine(c, canEcho(p), s.discriminator(), s.random, now)}
	s.byPath[p] = e
	s.byDiscriminator[e.machine.local] = e
	s.byPeer[p.Peer] = append(s.byPeer[p.Peer], e)
	s.starting = append(s.starting, e)
	s.tendSoon(now)
	return nil
}

// Remove stops watching a path, after the peer has been told that this is no
// failure. It does not wait for that. No change of the session is reported that
// happens afterwards. To remove what is not set has no effect.
func (s *Sessions) Remove(p Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byPath[p]; e != nil {
		s.leave(e, time.Now())
	}
}

// Status returns what the session of a path is like now; false if there is none.
func (s *Sessions) Status(p Path) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byPath[p]
	if e == nil {
		return Status{}, false
	}
	return e.status(), true
}

// Heard returns when the last packet of a path came; zero if none has since the peer
// was last given up, and if there is no session.
func (s *Sessions) Heard(p Path) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byPath[p]; e != nil {
		return e.machine.heard
	}
	return time.Time{}
}

// discriminator returns a new one (RFC 5880, section 6.8.1: a random one is
// harder to guess). The caller holds the lock, as in all that follows.
func (s *Sessions) discriminator() uint32 {
	for {
		d := s.random.Uint32()
		if _, taken := s.byDiscriminator[d]; d != 0 && !taken {
			return d
		}
	}
}

// leave makes a session take its leave: it is no longer known by its path, and
// says AdminDown until the peer has heard it.
func (s *Sessions) leave(e *session, now time.Time) {
	delete(s.byPath, e.path)
	m := e.machine
	if m.remote == 0 || !e.started {
		s.forget(e, now) // nobody to tell
		return
	}
	e.leaveBy = now.Add(s.farewell)
	c := m.config
	c.AdminDown = true
	s.apply(e, m.configure(c, now), now)
}

// forgetLeaving ends the leave of a session on a path that is wanted again: the
// peer shall hear one of us only.
func (s *Sessions) forgetLeaving(p Path, now time.Time) {
	for _, e := range s.byPeer[p.Peer] {
		if e.path == p {
			s.forget(e, now)
			return
		}
	}
}

// forget drops a session.
func (s *Sessions) forget(e *session, now time.Time) {
	is := func(other *session) bool { return other == e }
	e.started = false
	s.content(e.path)
	delete(s.byDiscriminator, e.machine.local)
	s.starting = slices.DeleteFunc(s.starting, is)
	s.queue.remove(e)
	rest := slices.DeleteFunc(s.byPeer[e.path.Peer], is)
	s.byPeer[e.path.Peer] = rest
	if len(rest) == 0 {
		delete(s.byPeer, e.path.Peer)
	}
	s.closeSender(e)
	s.tendSoon(now) // its entrance may be needed no more
}

// tendSoon makes Run look after the sockets.
func (s *Sessions) tendSoon(now time.Time) {
	s.tendAt = now
	ring(s.bell)
}

// ring rings a bell that may be ringing already.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
