// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"
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
	return newNodeWith(t, Options{})
}

func newNodeWith(t testing.TB, o Options) *node {
	t.Helper()
	n := &node{bell: make(chan struct{}, 1), changes: make(map[Path][]timed)}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("BFD_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	o.Log, o.OnChange = log, n.onChange
	n.Sessions = New(o)
	n.runUntilEnd(t)
	return n
}

// runUntilEnd runs the Sessions until stop is called or the test ends.
func (n *node) runUntilEnd(t testing.TB) {
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

// counters returns the counters of a session.
func (n *node) counters(p Path) counters {
	n.Sessions.mu.Lock()
	defer n.Sessions.mu.Unlock()
	return n.byPath[p].counters
}

// calm waits until sessions have been up for half a second and takes their
// changes. A machine that is shared with others may have disturbed them.
func (n *node) calm(t testing.TB, paths ...Path) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		disturbed := 0
		for _, p := range paths {
			st, _ := n.Status(p)
			changes := n.take(p)
			for _, c := range changes {
				t.Logf("disturbed: %+v", c.Change)
			}
			if len(changes) > 0 || st.State != Up {
				disturbed++
			}
		}
		if disturbed == 0 {
			return
		}
	}
	t.Fatal("the sessions do not stay up")
}
