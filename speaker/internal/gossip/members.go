// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
)

// Label keeps Herald's packets apart from those of other memberlist users, MetalLB
// among them, on the same port.
const Label = "herald"

// Departure is what goes on when this speaker leaves.
type Departure interface {
	// Depart is called before the farewell. What it returns is called after it, and waits
	// until the others can do without this speaker.
	Depart() (wait func())
}

// Config says how to take part.
type Config struct {
	// Node is the name of this node, and of this member.
	Node lb.NodeName
	// Bind is the address to listen on, over UDP and TCP, and to be reached at.
	Bind netip.Addr
	// Port is the port of all members.
	Port uint16
	// SecretDir holds the file secretkey. Empty: no encryption.
	SecretDir string
	Profile   Profile
	// Facts are what travels besides membership. Nil: nothing does.
	Facts Facts
	// Leaving, unless it is nil, makes the farewell a handover.
	Leaving Departure

	// transport replaces the network in tests.
	transport memberlist.NodeAwareTransport
}

// Members are the speakers that are alive, this one always included. All methods are
// safe for concurrent use; Run may be called once.
type Members struct {
	config  Config
	timings timings
	log     *slog.Logger
	metrics *metrics

	changed chan struct{} // bell for the consumer
	settled chan struct{} // closed once
	joining chan struct{} // bell for the joining goroutine
	moved   chan struct{} // bell for the settling goroutine
	told    chan []byte   // messages to be read
	sought  chan lb.NodeName
	greeted chan lb.NodeName // members to exchange everything with
	rumours *memberlist.TransmitLimitedQueue

	list atomic.Pointer[memberlist.Memberlist] // nil until Run has created it

	mu    sync.Mutex // guards what follows
	alive map[lb.NodeName]struct{}
	peers map[lb.NodeName]netip.Addr // nil until SetPeers
	met   bool                       // another member has told us whom it knows
	// exchanged says that another member has told us all facts.
	exchanged bool
	compared  comparison
	left      map[lb.NodeName]struct{} // those that have taken their leave, until they are back
	known     map[lb.NodeName]string   // where each member is reached that has been seen
}

// New returns the members as far as they are known: this one. It starts nothing.
func New(c Config, log *slog.Logger, reg prometheus.Registerer) (*Members, error) {
	if !c.Bind.IsValid() {
		return nil, fmt.Errorf("gossip: no address to bind to")
	}
	if c.Bind == netip.IPv6Unspecified() {
		return nil, fmt.Errorf("gossip: bind address %s does not tell others how to reach this node: give one of its addresses", c.Bind)
	}
	m := &Members{
		config:  c,
		timings: c.Profile.timings(),
		log:     log,
		changed: make(chan struct{}, 1),
		settled: make(chan struct{}),
		joining: make(chan struct{}, 1),
		moved:   make(chan struct{}, 1),
		told:    make(chan []byte, messageRoom),
		sought:  make(chan lb.NodeName, messageRoom),
		greeted: make(chan lb.NodeName, messageRoom),
		alive:   map[lb.NodeName]struct{}{c.Node: {}},
		left:    make(map[lb.NodeName]struct{}),
		known:   make(map[lb.NodeName]string),
	}
	m.rumours = newRumours(m)
	m.metrics = newMetrics(reg, m)
	return m, nil
}

// Alive returns the members that are alive, in a map of the caller's own.
func (m *Members) Alive() map[lb.NodeName]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.alive)
}

// Changed rings when Alive has changed. It has a capacity of one: several changes
// may ring once, and it has one consumer.
func (m *Members) Changed() <-chan struct{} { return m.changed }

// Settled is closed when Alive can be believed: every peer is there, or somebody has
// told us whom it knows and nothing has changed for a moment, or nobody could be
// reached for so long that we must assume to be alone. It is never closed before
// SetPeers was called.
func (m *Members) Settled() <-chan struct{} { return m.settled }

// Health is 0 when this member keeps up with its own probing, and higher the more it
// falls behind, for want of CPU or network. A sick member should doubt itself before
// it believes in the death of others.
func (m *Members) Health() int {
	if list := m.list.Load(); list != nil {
		return list.GetHealthScore()
	}
	return 0
}

// SetPeers says which nodes there are and at which addresses. It replaces what was
// said before. Of each node the first address of the family of the bind address
// counts.
func (m *Members) SetPeers(nodes map[lb.NodeName][]netip.Addr) {
	peers := make(map[lb.NodeName]netip.Addr, len(nodes))
	for name, addresses := range nodes {
		i := slices.IndexFunc(addresses, func(a netip.Addr) bool { return a.Is4() == m.config.Bind.Is4() })
		if name != m.config.Node && i >= 0 {
			peers[name] = addresses[i]
		}
	}
	m.mu.Lock()
	same := m.peers != nil && maps.Equal(m.peers, peers)
	m.peers = peers
	m.mu.Unlock()
	if !same {
		ring(m.joining)
		ring(m.moved)
	}
}

// unmet returns the peers to ask: those that are not alive, or all of them as long as
// none has told us whom it knows. A member that is merely rumoured to be alive has not.
func (m *Members) unmet() map[lb.NodeName]netip.Addr {
	m.mu.Lock()
	met := m.met
	all := maps.Clone(m.peers)
	m.mu.Unlock()
	if met {
		return m.missing()
	}
	return all
}

// missing returns the peers that are not alive.
func (m *Members) missing() map[lb.NodeName]netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	missing := make(map[lb.NodeName]netip.Addr)
	for name, a := range m.peers {
		if _, ok := m.alive[name]; !ok {
			missing[name] = a
		}
	}
	return missing
}

// NotifyJoin is memberlist's. It is called with memberlist's lock held.
func (m *Members) NotifyJoin(n *memberlist.Node) { m.note(n, "join", true) }

// NotifyLeave is memberlist's, for members that left and for those that died.
func (m *Members) NotifyLeave(n *memberlist.Node) { m.note(n, "leave", false) }

// NotifyUpdate is memberlist's. Members have no metadata that could change.
func (m *Members) NotifyUpdate(*memberlist.Node) {}

// NotifyMerge is memberlist's: we have asked a peer to let us in, or one has asked us,
// and it has told us whom it knows.
func (m *Members) NotifyMerge([]*memberlist.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.met = true
	return nil
}

func (m *Members) note(n *memberlist.Node, event string, alive bool) {
	name := lb.NodeName(n.Name)
	if name == m.config.Node {
		return // we are alive until we are gone, also while leaving
	}
	m.mu.Lock()
	if alive {
		m.alive[name] = struct{}{}
		m.known[name] = addressOf(n)
		delete(m.left, name)
	} else {
		delete(m.alive, name)
	}
	count := len(m.alive)
	m.mu.Unlock()

	m.metrics.events.WithLabelValues(event).Inc()
	m.log.Info("membership changed", logKeyEvent, event, lb.LogKeyMember, name, lb.LogKeyCount, count)
	ring(m.changed)
	ring(m.moved)
	if !alive {
		ring(m.joining) // it may only seem dead: start asking for it
		return
	}
	m.greet(name)
}

// ring rings a bell of capacity one.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
