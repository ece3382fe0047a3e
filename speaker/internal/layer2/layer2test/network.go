// SPDX-License-Identifier: Apache-2.0

package layer2test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// Network is a layer2.Network in memory. Its zero value is ready for use. Its
// methods may be called from several goroutines at once.
type Network struct {
	mu      sync.Mutex // guards what follows
	sockets map[port]*socket
	refused map[port]error
	groups  map[int][]netip.Addr // joined, by interface
	limit   int                  // of groups per interface; 0 means none
	sent    []Frame
	bell    chan struct{}
}

// port is one protocol on one interface.
type port struct {
	protocol layer2.Protocol
	index    int
}

// Frame is a frame that has been sent.
type Frame struct {
	Protocol layer2.Protocol
	Index    int // of the interface
	At       time.Time
	Bytes    []byte
}

// Open implements layer2.Network. There can be one open socket per protocol and
// interface.
func (n *Network) Open(p layer2.Protocol, i layer2.Interface) (layer2.Socket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := port{protocol: p, index: i.Index}
	if err := n.refused[at]; err != nil {
		return nil, err
	}
	if n.sockets[at] != nil {
		return nil, fmt.Errorf("open %s on %s: there is an open socket", p, i.Name)
	}
	s := &socket{network: n, port: at, frames: make(chan []byte), done: make(chan struct{}), failed: make(chan error, 1)}
	if n.sockets == nil {
		n.sockets = make(map[port]*socket)
	}
	n.sockets[at] = s
	ring(n.changed())
	return s, nil
}

// Memberships implements layer2.Network.
func (n *Network) Memberships(i layer2.Interface) layer2.Memberships {
	return &memberships{network: n, index: i.Index}
}

// Refuse makes Open fail with err, until it is called with nil.
func (n *Network) Refuse(p layer2.Protocol, index int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused == nil {
		n.refused = make(map[port]error)
	}
	n.refused[port{protocol: p, index: index}] = err
}

// Limit makes joining more than the given number of groups fail; 0 lifts it.
func (n *Network) Limit(groups int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.limit = groups
}

// Fail makes the open socket fail with err, as it does when its interface goes
// down. It says whether there was one.
func (n *Network) Fail(p layer2.Protocol, index int, err error) bool {
	s := n.socket(p, index)
	if s == nil {
		return false
	}
	select {
	case s.failed <- err:
	default:
	}
	return true
}

// Deliver has the open socket receive a frame. It returns once the frame before
// has been answered, and says whether there was a socket.
func (n *Network) Deliver(p layer2.Protocol, index int, frame []byte) bool {
	s := n.socket(p, index)
	if s == nil {
		return false
	}
	select {
	case s.frames <- frame:
		return true
	case <-s.done:
		return false
	}
}

// IsOpen says whether there is an open socket.
func (n *Network) IsOpen(p layer2.Protocol, index int) bool { return n.socket(p, index) != nil }

// Admitted says whether the open socket lets frames about an address through.
func (n *Network) Admitted(p layer2.Protocol, index int, a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sockets[port{protocol: p, index: index}]
	return s != nil && s.sieve.Passes(a)
}

// Take returns the frames sent since it was called last.
func (n *Network) Take() []Frame {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent := n.sent
	n.sent = nil
	return sent
}

// Changed rings after a frame has been sent or a socket opened or closed. It is
// meant for one receiver.
func (n *Network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed()
}

// Groups returns the groups that are joined on an interface, in the order of
// joining.
func (n *Network) Groups(index int) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.groups[index])
}

func (n *Network) socket(p layer2.Protocol, index int) *socket {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sockets[port{protocol: p, index: index}]
}

// changed is the bell. The caller holds the lock.
func (n *Network) changed() chan struct{} {
	if n.bell == nil {
		n.bell = make(chan struct{}, 1)
	}
	return n.bell
}

// socket is a layer2.Socket.
type socket struct {
	network *Network
	port    port
	frames  chan []byte
	failed  chan error
	done    chan struct{}
	sieve   *layer2.Sieve // guarded by the network's lock
}

// Serve implements layer2.Socket.
func (s *socket) Serve(a layer2.Answerer) error {
	for {
		select {
		case <-s.done:
			return net.ErrClosed
		case err := <-s.failed:
			return err
		case frame := <-s.frames:
			if reply := a.Answer(frame); reply != nil && s.Send(reply) == nil {
				a.Answered()
			}
		}
	}
}

// Admit implements layer2.Socket. Frames are delivered all the same: that the sieve
// is what it should be is seen by Admitted.
func (s *socket) Admit(sieve *layer2.Sieve) error {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	s.sieve = sieve
	return nil
}

// Send implements layer2.Socket.
func (s *socket) Send(frame []byte) error {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	if s.network.sockets[s.port] != s {
		return net.ErrClosed
	}
	s.network.sent = append(s.network.sent, Frame{
		Protocol: s.port.protocol, Index: s.port.index,
		At: time.Now(), Bytes: slices.Clone(frame),
	})
	ring(s.network.changed())
	return nil
}

// Close implements layer2.Socket.
func (s *socket) Close() error {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	delete(s.network.sockets, s.port)
	close(s.done)
	ring(s.network.changed())
	return nil
}

// memberships are layer2.Memberships.
type memberships struct {
	network *Network
	index   int
	joined  []netip.Addr
}

// Join implements layer2.Memberships.
func (m *memberships) Join(group netip.Addr) error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	all := m.network.groups[m.index]
	if slices.Contains(m.joined, group) {
		return fmt.Errorf("join %s: joined already", group)
	}
	if m.network.limit > 0 && len(all) >= m.network.limit {
		return fmt.Errorf("join %s: %d groups are enough", group, len(all))
	}
	if m.network.groups == nil {
		m.network.groups = make(map[int][]netip.Addr)
	}
	m.joined = append(m.joined, group)
	m.network.groups[m.index] = append(all, group)
	return nil
}

// Leave implements layer2.Memberships.
func (m *memberships) Leave(group netip.Addr) error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	if !slices.Contains(m.joined, group) {
		return fmt.Errorf("leave %s: not joined", group)
	}
	m.drop(group)
	return nil
}

// Close implements layer2.Memberships.
func (m *memberships) Close() error {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	for _, group := range slices.Clone(m.joined) {
		m.drop(group)
	}
	return nil
}

// drop forgets a membership. The caller holds the lock.
func (m *memberships) drop(group netip.Addr) {
	without := func(all []netip.Addr) []netip.Addr {
		i := slices.Index(all, group)
		return slices.Delete(slices.Clone(all), i, i+1)
	}
	m.joined = without(m.joined)
	m.network.groups[m.index] = without(m.network.groups[m.index])
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
