// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	interval  = 50 * time.Millisecond
	detection = multiplier * interval
)

// cluster is a number of speakers on one LAN, with BFD, gossip and layer 2 in memory, in
// fake time. Packets of BFD and of questions, and messages, are lost with a probability.
type cluster struct {
	t      *testing.T
	random *rand.Rand

	mu    sync.Mutex // guards what follows, and random
	nodes []*host
	loss  float64
	wrong int // takeovers from speakers that answered
	// cut has the directions that nothing gets through.
	cut map[[2]int]bool
}

// host is a speaker with its surroundings: it is its own Gossip, BFD, LAN and Heir. The
// lock of the cluster guards it.
type host struct {
	*Vigil
	cluster *cluster
	number  int
	name    lb.NodeName
	address netip.Addr

	alive   map[lb.NodeName]struct{} // by gossip
	left    map[lb.NodeName]struct{}
	rings   chan struct{}
	ready   chan struct{}
	told    chan []byte
	sought  []lb.NodeName
	heard   map[bfd.Path]time.Time
	up      map[bfd.Path]bool
	until   time.Time // lease
	renewed int
	stopped bool          // its process does not run
	sleep   time.Duration // for which Vigil is to be stopped
	frozen  time.Duration // for which it was
	linkUp  bool
}

func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, random: rand.New(rand.NewPCG(1, 2)), cut: make(map[[2]int]bool)}
	nodes := make(map[lb.NodeName][]netip.Addr)
	for i := range n {
		h := &host{
			cluster: c, number: i, name: lb.NodeName(fmt.Sprintf("node-%d", i)), address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}),
			alive: make(map[lb.NodeName]struct{}), left: make(map[lb.NodeName]struct{}),
			rings: make(chan struct{}, 1), ready: make(chan struct{}), told: make(chan []byte, 1000),
			heard: make(map[bfd.Path]time.Time), up: make(map[bfd.Path]bool), linkUp: true,
		}
		h.Vigil = New(Config{
			Node: h.name, Address: h.address, Interval: interval, Gossip: h.gossip(), BFD: h, LAN: h, Heir: h,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		c.nodes = append(c.nodes, h)
		nodes[h.name] = []netip.Addr{h.address}
	}
	for _, h := range c.nodes {
		for name := range nodes {
			h.alive[name] = struct{}{}
		}
		h.SetPeers(nodes)
		ring(h.rings)
		close(h.ready)
	}
	return c
}

// run runs all speakers and the traffic of BFD until stop is called.
func (c *cluster) run() (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var group sync.WaitGroup
	for _, h := range c.nodes {
		group.Go(func() { _ = h.Run(ctx) })
		group.Go(func() { h.transmit(ctx) })
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// transmit is BFD: it sends to all, and gives up those that were silent for too long.
func (h *host) transmit(ctx context.Context) {
	c := h.cluster
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.mu.Lock()
		var changes []bfd.Change
		if !h.stopped {
			for _, other := range c.nodes {
				if other != h && !c.lost(h.number, other.number) {
					other.heard[pathTo(other, h)] = time.Now()
				}
			}
			changes = h.look()
		}
		late := h.frozen
		h.frozen = 0
		wait := time.Duration((0.75 + 0.25*c.random.Float64()) * float64(interval))
		c.mu.Unlock()
		for _, change := range changes {
			change.SelfLate = late
			h.OnChange(change)
		}
		timer.Reset(wait)
	}
}

// look compares sessions with what was heard.
func (h *host) look() []bfd.Change {
	var changes []bfd.Change
	for path, up := range h.up {
		is := time.Since(h.heard[path]) < detection
		if is == up {
			continue
		}
		h.up[path] = is
		change := bfd.Change{Path: path, Previous: bfd.Down, Status: bfd.Status{State: bfd.Up, RemoteState: bfd.Up}}
		if !is {
			change = bfd.Change{Path: path, Previous: bfd.Up, Status: bfd.Status{State: bfd.Down, RemoteState: bfd.Up, Diagnostic: bfd.ControlDetectionTimeExpired}}
		}
		changes = append(changes, change)
	}
	return changes
}

func pathTo(from, to *host) bfd.Path {
	return bfd.Path{Peer: to.address, Local: from.address, Multihop: true}
}

// lost draws whether a packet is lost. The caller holds the lock.
func (c *cluster) lost(from, to int) bool {
	return c.cut[[2]int{from, to}] || c.random.Float64() < c.loss
}

// BFD.

func (h *host) Set(p bfd.Path, _ bfd.Config) error {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	if _, ok := h.up[p]; !ok {
		h.up[p] = false
	}
	return nil
}

func (h *host) Remove(p bfd.Path) {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	delete(h.up, p)
}

func (h *host) Heard(p bfd.Path) time.Time {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	if !h.up[p] {
		return time.Time{}
	}
	return h.heard[p]
}

// LAN: everybody answers for the addresses that are its own; 40 ms, three requests for
// each.

func (h *host) Ask(ctx context.Context, addresses []layer2.Announcement, linger bool) (layer2.Outcome, bool) {
	timer := time.NewTimer(40 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	c := h.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !h.linkUp {
		return layer2.Unable, false
	}
	others := false
	for _, other := range c.nodes {
		if other == h || other.stopped {
			continue
		}
		others = others || linger && !c.lost(other.number, h.number)
		for range 3 * len(addresses) {
			mine := other.address == addresses[0].Address && time.Now().Before(other.until)
			if mine && !c.lost(h.number, other.number) && !c.lost(other.number, h.number) {
				return layer2.Answered, true
			}
		}
	}
	return layer2.Silence, others
}

// Extend is where a Vigil comes by every beat: it is stopped here.
func (h *host) Extend(until time.Time) {
	h.cluster.mu.Lock()
	h.until = until
	sleep := h.sleep
	h.sleep = 0
	h.cluster.mu.Unlock()
	time.Sleep(sleep)
}

func (h *host) Renew() {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	h.renewed++
}

// Heir: each is the heir of the one after it that is present.

func (h *host) Inheritance(_ context.Context, from lb.NodeName) ([]layer2.Announcement, bool) {
	present := h.Alive()
	n := len(h.cluster.nodes)
	for i := 1; i < n; i++ {
		next := h.cluster.nodes[(h.number+i)%n]
		if next.name == from {
			return []layer2.Announcement{{Address: next.address}, {Address: next.address}, {Address: next.address}}, true
		}
		if _, ok := present[next.name]; ok {
			return nil, true // it is nearer
		}
	}
	return nil, true
}

// gossip is a host's gossip: a Changed of its own.
func (h *host) gossip() Gossip { return gossipOf{h} }

type gossipOf struct{ *host }

func (g gossipOf) SetPeers(map[lb.NodeName][]netip.Addr) {}
func (g gossipOf) Changed() <-chan struct{}              { return g.rings }
func (g gossipOf) Settled() <-chan struct{}              { return g.ready }
func (g gossipOf) Told() <-chan []byte                   { return g.told }

func (g gossipOf) Alive() map[lb.NodeName]struct{} {
	g.cluster.mu.Lock()
	defer g.cluster.mu.Unlock()
	return maps.Clone(g.alive)
}

func (g gossipOf) Left(name lb.NodeName) bool {
	g.cluster.mu.Lock()
	defer g.cluster.mu.Unlock()
	_, left := g.left[name]
	return left
}

func (g gossipOf) Tell(b []byte) {
	c := g.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	m, _, _ := decode(b)
	for _, other := range c.nodes {
		if m.Kind == suspect.Gone && other.name == m.Node && !other.stopped && time.Now().Before(other.until) {
			c.wrong++
		}
		if other != g.host && !g.stopped && !c.lost(g.number, other.number) {
			select {
			case other.told <- slices.Clone(b):
			default:
			}
		}
	}
}

func (g gossipOf) Seek(name lb.NodeName) {
	g.cluster.mu.Lock()
	defer g.cluster.mu.Unlock()
	g.sought = append(g.sought, name)
}

// set changes something in the cluster.
func (c *cluster) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// gossipSays makes gossip of all take a speaker for dead or alive.
func (c *cluster) gossipSays(number int, alive bool) {
	c.set(func() {
		for _, h := range c.nodes {
			if alive {
				h.alive[c.nodes[number].name] = struct{}{}
			} else if h.number != number {
				delete(h.alive, c.nodes[number].name)
			}
			ring(h.rings)
		}
	})
}

// isolate cuts a speaker off, or connects it again.
func (c *cluster) isolate(number int, is bool) {
	c.set(func() {
		for i := range c.nodes {
			c.cut[[2]int{i, number}], c.cut[[2]int{number, i}] = is, is
		}
	})
}

func (h *host) expectPresent(numbers ...int) {
	h.cluster.t.Helper()
	var want []lb.NodeName
	for _, i := range numbers {
		want = append(want, h.cluster.nodes[i].name)
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(h.Alive()))); diff != "" {
		h.cluster.t.Errorf("present for %s (-want +got):\n%s", h.name, diff)
	}
}

// count returns how often something has happened, for whatever cause.
func (h *host) count(e suspect.Event) uint64 {
	h.metrics.mu.Lock()
	counts := h.metrics.counts
	h.metrics.mu.Unlock()
	var sum uint64
	counts.Each(func(each suspect.Event, _ suspect.Cause, n uint64) {
		if each == e {
			sum += n
		}
	})
	return sum
}

// freeze stops the speaker's process for a while: it sends nothing, and its Vigil comes
// round only afterwards.
func (h *host) freeze(d time.Duration) {
	h.cluster.set(func() { h.stopped, h.sleep = true, d })
	time.AfterFunc(d, func() {
		h.cluster.set(func() { h.stopped, h.frozen = false, d })
	})
}

func down(p bfd.Path) bfd.Change {
	return bfd.Change{Path: p, Previous: bfd.Up, Status: bfd.Status{State: bfd.Down, RemoteState: bfd.Up, Diagnostic: bfd.ControlDetectionTimeExpired}}
}
