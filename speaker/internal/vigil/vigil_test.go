// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// inCluster runs a test in a cluster of three that has been up for a while.
func inCluster(t *testing.T, n int, test func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, n)
		stop := c.run()
		defer stop()
		time.Sleep(time.Second)
		for _, h := range c.nodes {
			if len(h.Alive()) != n {
				t.Fatalf("%s sees %v", h.name, h.Alive())
			}
		}
		test(c)
	})
}

// awaitGone returns how long it takes until a speaker is not present for another.
func (h *host) awaitGone(number int, limit time.Duration) time.Duration {
	h.cluster.t.Helper()
	begin := time.Now()
	for time.Since(begin) < limit {
		if _, ok := h.Alive()[h.cluster.nodes[number].name]; !ok {
			return time.Since(begin)
		}
		time.Sleep(time.Millisecond)
	}
	h.cluster.t.Fatalf("%s is present for %s after %s", h.cluster.nodes[number].name, h.name, limit)
	return 0
}

// A dead speaker is gone for all within the Detection Time and a question.
func TestDeath(t *testing.T) {
	for _, n := range []int{3, 9} { // all watch each other, and some
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inCluster(t, n, func(c *cluster) { testDeath(t, c) })
		})
	}
}

func testDeath(t *testing.T, c *cluster) {
	var all []int
	for i := range c.nodes {
		all = append(all, i)
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return i == 1 })
	begin := time.Now()
	c.set(func() { c.nodes[1].stopped = true })
	for _, i := range rest {
		c.nodes[i].awaitGone(1, time.Second)
		if took := time.Since(begin); took > detection+150*time.Millisecond {
			t.Errorf("gone for %d after %s", i, took)
		}
	}
	// It comes back, and is present for all before gossip knows.
	c.set(func() { c.nodes[1].stopped = false })
	time.Sleep(100 * time.Millisecond)
	for _, h := range c.nodes {
		h.expectPresent(all...)
	}
}

// A speaker that is silent on the node network and answers on the LAN stays, also when
// gossip takes it for dead.
func TestAnswerOnLANCounts(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.set(func() { delete(c.nodes[0].up, pathTo(c.nodes[0], c.nodes[1])) })
		c.nodes[0].OnChange(down(pathTo(c.nodes[0], c.nodes[1])))
		c.gossipSays(1, false)
		time.Sleep(5 * time.Second)
		c.nodes[0].expectPresent(0, 1, 2)
		if n := c.nodes[0].count(suspect.Refuted); n != 1 {
			t.Errorf("refuted %d times, want once", n)
		}
	})
}

// A speaker that is cut off claims nothing, and falls in again when it is connected.
func TestIsolated(t *testing.T) {
	inCluster(t, 4, func(c *cluster) {
		c.isolate(1, true)
		for _, i := range []int{0, 2, 3} {
			c.nodes[i].awaitGone(1, time.Second)
		}
		c.set(func() {
			for i := range c.nodes {
				if i != 1 {
					delete(c.nodes[1].alive, c.nodes[i].name)
				}
			}
			ring(c.nodes[1].rings)
		})
		time.Sleep(10 * time.Second)
		c.nodes[1].expectPresent(0, 1, 2, 3)
		if n := c.nodes[1].count(suspect.Confirmed); n != 0 {
			t.Errorf("it has taken over %d times", n)
		}
		c.isolate(1, false)
		time.Sleep(200 * time.Millisecond)
		for _, h := range c.nodes {
			h.expectPresent(0, 1, 2, 3)
		}
	})
}

// A speaker that nobody hears is replaced; one that hears nobody replaces nobody. When the
// other direction works again, all are there for all at once.
func TestOneDirection(t *testing.T) {
	for name, tt := range map[string]struct {
		mute bool
		want []int // present for node 0 meanwhile
	}{
		"it is not heard":  {true, []int{0, 2}},
		"it does not hear": {false, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				set := func(is bool) {
					c.set(func() {
						for _, i := range []int{0, 2} {
							direction := [2]int{i, 1}
							if tt.mute {
								direction = [2]int{1, i}
							}
							c.cut[direction] = is
						}
					})
				}
				set(true)
				time.Sleep(2 * time.Second)
				c.nodes[0].expectPresent(tt.want...)
				c.nodes[1].expectPresent(0, 1, 2)
				if n := c.nodes[1].count(suspect.Confirmed); n != 0 {
					t.Errorf("it has taken over %d times", n)
				}
				set(false)
				time.Sleep(200 * time.Millisecond)
				for _, h := range c.nodes {
					h.expectPresent(0, 1, 2)
				}
			})
		})
	}
}

// Two nodes have nobody else to ask: when the LAN is silent, the other one is gone. One
// without a link cannot ask.
func TestTwoNodes(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.isolate(1, true)
		c.set(func() { c.nodes[1].linkUp = false })
		c.nodes[0].awaitGone(1, time.Second)
		time.Sleep(5 * time.Second)
		c.nodes[1].expectPresent(0, 1)
	})
}

// A speaker that was stopped answers nobody when it goes on, until it has listened; it
// learns that it was replaced, contradicts, and announces again.
func TestStopped(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		h := c.nodes[1]
		answers := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return time.Now().Before(h.until)
		}
		h.freeze(time.Second)
		time.Sleep(500 * time.Millisecond)
		if answers() {
			t.Error("it would answer while it is stopped")
		}
		c.nodes[0].expectPresent(0, 2)
		time.Sleep(505 * time.Millisecond)
		if answers() {
			t.Error("it answers at once when it goes on")
		}
		time.Sleep(200 * time.Millisecond)
		if !answers() {
			t.Error("it does not answer when it has listened")
		}
		c.mu.Lock()
		if h.renewed == 0 {
			t.Error("it does not announce again")
		}
		c.mu.Unlock()
		for _, h := range c.nodes {
			h.expectPresent(0, 1, 2)
		}
		if h.count(suspect.Accused) != 1 || h.count(suspect.Doubted) == 0 {
			t.Error("nobody has counted that")
		}
	})
}

// What goes to another is given up when that one is ready.
func TestReady(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.nodes[0].SayReady()
		if got := <-c.nodes[1].Ready(); got != c.nodes[0].name {
			t.Errorf("%s is ready", got)
		}
		time.Sleep(time.Second)
		select {
		case <-c.nodes[1].Ready():
			t.Error("it is ready twice")
		default:
		}
	})
}

func TestMessages(t *testing.T) {
	want := suspect.Message{Kind: suspect.Gone, Node: "worker-1", By: "worker-2"}
	b := encode(want.Kind, want.Node, want.By, 7)
	got, number, ok := decode(b)
	if diff := cmp.Diff(want, got); !ok || number != 7 || diff != "" {
		t.Errorf("number %d, %t (-want +got):\n%s", number, ok, diff)
	}
	for i := range b {
		if _, _, ok := decode(b[:i]); ok {
			t.Errorf("%d bytes of %d are a message", i, len(b))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(suspect.Here, "a", "b", 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, number, ok := decode(b)
		if !ok {
			return
		}
		again, n, ok := decode(encode(m.Kind, m.Node, m.By, number))
		if !ok || n != number || again != m {
			t.Errorf("%+v becomes %+v", m, again)
		}
	})
}

// Whoever is a neighbor has us for a neighbor, and everybody has enough of them.
func TestNeighbors(t *testing.T) {
	for _, n := range []int{1, 2, 2*neighborhood + 1, 2*neighborhood + 2, 100} {
		var all []lb.NodeName
		for i := range n {
			all = append(all, lb.NodeName(fmt.Sprintf("node-%d", i)))
		}
		of := make(map[lb.NodeName][]lb.NodeName)
		for i, self := range all {
			others := slices.Delete(slices.Clone(all), i, i+1)
			near := neighbors(self, others)
			of[self] = near
			unique := slices.Compact(slices.Sorted(slices.Values(near)))
			if want := min(n-1, 2*neighborhood); len(unique) != want || slices.Contains(near, self) {
				t.Errorf("of %d, %s has %d neighbors, want %d", n, self, len(unique), want)
			}
		}
		for self, near := range of {
			for _, other := range near {
				if !slices.Contains(of[other], self) {
					t.Errorf("of %d, %s watches %s, which does not watch it", n, self, other)
				}
			}
		}
	}
}
