// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// lan is a network in memory. It works in fake time.
type lan struct {
	hosts map[netip.Addr]*lanHost
}

// lanHost is one address on a lan, and the network of its Sessions.
type lanHost struct {
	lan     *lan
	address netip.Addr

	mu         sync.Mutex // guards what follows
	receivers  map[entrance]*lanReceiver
	ports      map[uint16]bool // that somebody else has
	refuse     error           // the answer to listen
	cut        bool            // sends nothing
	starved    bool            // its readers get no time
	sent       int
	departures []departure
	farthest   int // the TTL that packets of this host arrive with
}

// departure is a packet that was sent.
type departure struct {
	at time.Time
	to netip.Addr
}

func newLAN(addresses ...string) (*lan, []*lanHost) {
	l := &lan{hosts: make(map[netip.Addr]*lanHost)}
	var hosts []*lanHost
	for _, s := range addresses {
		h := &lanHost{lan: l, address: netip.MustParseAddr(s), receivers: make(map[entrance]*lanReceiver), ports: make(map[uint16]bool), farthest: hopLimit}
		l.hosts[h.address] = h
		hosts = append(hosts, h)
	}
	return l, hosts
}

// lanPacket is a packet that has arrived.
type lanPacket struct {
	arrival
	bytes []byte
}

type lanReceiver struct {
	fail    chan error
	host    *lanHost
	at      entrance
	packets chan lanPacket
	closed  chan struct{}
}

func (h *lanHost) listen(_ context.Context, e entrance) (receiver, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return nil, h.refuse
	}
	r := &lanReceiver{fail: make(chan error, 1), host: h, at: e, packets: make(chan lanPacket, 1<<12), closed: make(chan struct{})}
	h.receivers[e] = r
	return r, nil
}

func (r *lanReceiver) receive(b []byte) (arrival, error) {
	r.host.mu.Lock()
	packets := r.packets
	if r.host.starved {
		packets = nil
	}
	r.host.mu.Unlock()
	select {
	case p := <-packets:
		copy(b, p.bytes)
		return p.arrival, nil
	case err := <-r.fail:
		return arrival{}, err
	case <-r.closed:
		return arrival{}, net.ErrClosed
	}
}

func (r *lanReceiver) poll(b []byte) (arrival, bool) {
	select {
	case p := <-r.packets:
		copy(b, p.bytes)
		return p.arrival, true
	default:
		return arrival{}, false
	}
}

func (r *lanReceiver) Close() error {
	r.host.mu.Lock()
	defer r.host.mu.Unlock()
	delete(r.host.receivers, r.at)
	close(r.closed)
	return nil
}

type lanSender struct {
	host *lanHost
	path Path
	port uint16
}

func (h *lanHost) open(p Path, port uint16) (sender, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[port] {
		return nil, errPortTaken
	}
	return &lanSender{h, p, port}, nil
}

func (s *lanSender) send(b []byte) error {
	s.host.mu.Lock()
	cut, ttl := s.host.cut, s.host.farthest
	s.host.sent++
	s.host.departures = append(s.host.departures, departure{time.Now(), s.path.Peer})
	s.host.mu.Unlock()
	to := s.host.lan.hosts[s.path.Peer]
	if cut || to == nil {
		return nil
	}
	at := s.path.entrance()
	to.mu.Lock()
	defer to.mu.Unlock()
	if r := to.receivers[at]; r != nil {
		r.packets <- lanPacket{arrival{length: len(b), from: s.host.address, to: s.path.Peer, index: 1, ttl: ttl}, append([]byte(nil), b...)}
	}
	return nil
}

func (s *lanSender) interfaceIndex() int { return 1 }
func (s *lanSender) Close() error        { return nil }

func (h *lanHost) openEcho() (echoSocket, error) { return nil, errors.New("no echo here") }

// set changes a property of a host.
func (h *lanHost) set(change func(h *lanHost)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

// startOn runs Sessions on a host until stop is called or the test ends.
func startOn(t *testing.T, h *lanHost, o Options) *node {
	t.Helper()
	n := &node{bell: make(chan struct{}, 1), changes: make(map[Path][]timed)}
	base := optionsOn(h, n)
	base.Registerer, base.Together = o.Registerer, o.Together
	if o.OnChange != nil {
		base.OnChange = o.OnChange
	}
	n.Sessions = New(base)
	n.runUntilEnd(t)
	return n
}

func optionsOn(h *lanHost, n *node) Options {
	o := Options{Log: slog.New(slog.DiscardHandler), OnChange: n.onChange, Random: rand.NewPCG(1, 2)}
	if h != nil {
		o.network, o.Random = h, rand.NewPCG(1, uint64(h.address.As4()[3]))
	}
	return o
}
