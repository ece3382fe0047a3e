// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// patience is how long something may take that is expected to happen.
const patience = 10 * time.Second

// node is Sessions that run, and what they report.
type node struct {
	*Sessions
	stop func() // ends Run, and returns when it has
	bell chan struct{}

	mu      sync.Mutex // guards what follows
	changes map[Path][]timed
}

// timed is a change and when it was reported.
type timed struct {
	Change
	at time.Time
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{bell: make(chan struct{}, 1), changes: make(map[Path][]timed)}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("BFD_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	n.Sessions = New(Options{Log: log, OnChange: n.onChange})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) onChange(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes[c.Path] = append(n.changes[c.Path], timed{c, time.Now()})
	ring(n.bell)
}

// take returns the changes of a path that were not taken yet.
func (n *node) take(p Path) []timed {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.changes[p]
	delete(n.changes, p)
	return c
}

// await takes the changes of a path up to one into a state, and returns that.
func (n *node) await(t testing.TB, p Path, s State) timed {
	t.Helper()
	deadline := time.After(patience)
	for {
		n.mu.Lock()
		for i, c := range n.changes[p] {
			if c.State == s {
				n.changes[p] = n.changes[p][i+1:]
				n.mu.Unlock()
				return c
			}
		}
		n.mu.Unlock()
		select {
		case <-n.bell:
		case <-deadline:
			now, _ := n.Status(p)
			t.Fatalf("the session with %s did not become %s; it is %+v", p.Peer, s, now)
		}
	}
}

func (n *node) set(t testing.TB, p Path, c Config) {
	t.Helper()
	if err := n.Set(p, c); err != nil {
		t.Fatal(err)
	}
}

var (
	peer4 = Path{Peer: netip.MustParseAddr("192.0.2.2")}
	peer6 = Path{Peer: netip.MustParseAddr("2001:db8::2")}
	hops4 = Path{Peer: netip.MustParseAddr("192.0.2.2"), Local: netip.MustParseAddr("192.0.2.1"), Multihop: true}
)

const fast = 50 * time.Millisecond

func TestFRRUp(t *testing.T) {
	r := frr(t, `
bfd
 peer 192.0.2.1
  receive-interval 50
  transmit-interval 50
 peer 2001:db8::1 local-address 2001:db8::2
 peer 192.0.2.1 multihop local-address 192.0.2.2
`)
	n := newNode(t)
	for _, p := range []Path{peer4, peer6, hops4} {
		n.set(t, p, Config{TransmitInterval: fast, ReceiveInterval: fast})
	}
	for _, p := range []Path{peer4, peer6, hops4} {
		n.await(t, p, Up)
		linktest.Await(t, func() bool { return r.peer(t, "192.0.2.1").Status == "up" }, func() { t.Log(string(r.vtysh(t, "show bfd peers"))) })
	}
	t.Log(strings.TrimSpace(string(r.vtysh(t, "show bfd peers"))))
}
