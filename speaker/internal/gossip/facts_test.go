// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

// board is Facts in a test.
type board struct {
	mu    sync.Mutex // guards board
	board *facts.Board
}

func newTestBoard(node lb.NodeName, boot uint64) *board {
	return &board{board: facts.NewBoard(node, boot)}
}

func (b *board) Everything() []facts.Statement {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.board.Everything()
}

func (b *board) Hear(statements []facts.Statement) (fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range statements {
		fresh = b.board.Hear(s).Fresh || fresh
	}
	return fresh
}

func (b *board) Fingerprint() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.board.Fingerprint()
}

func (b *board) claimant(a netip.Addr) lb.NodeName {
	b.mu.Lock()
	defer b.mu.Unlock()
	node, _, _ := b.board.Claimant(a, nil)
	return node
}

// claim has a member claim addresses and say so.
func (b *board) claim(m *member, taken ...netip.Addr) {
	b.mu.Lock()
	said, _ := b.board.Claim(facts.Taking{Addresses: taken, Weight: facts.Full}, nil)
	b.mu.Unlock()
	for _, s := range said {
		m.Say(s)
	}
}

// talkative is a cluster whose members have facts.
type talkative struct {
	*cluster
	boards []*board
}

func newTalkative(t *testing.T, n int) *talkative {
	t.Helper()
	c := &talkative{cluster: newCluster(t, 0)}
	for i := range n {
		c.prepareTalking(i)
	}
	for i := range n {
		c.members[i].SetPeers(c.nodes())
		c.run(c.members[i])
	}
	return c
}

func (c *talkative) prepareTalking(i int) {
	c.prepare(i)
	b := newTestBoard(nameOf(i), uint64(len(c.boards)+1))
	c.members[i].config.Facts = b
	if i < len(c.boards) {
		c.boards[i] = b
	} else {
		c.boards = append(c.boards, b)
	}
}

// awaitClaim waits until all these know whose claim counts, and returns how long it took.
func (c *talkative) awaitClaim(limit time.Duration, a netip.Addr, node lb.NodeName, observers ...*board) time.Duration {
	c.t.Helper()
	began := time.Now()
	for i, b := range observers {
		for b.claimant(a) != node {
			if time.Since(began) > limit {
				c.t.Fatalf("observer %d: %s is claimed by %q, want %q", i, a, b.claimant(a), node)
			}
			time.Sleep(time.Millisecond) // fake time
		}
	}
	return time.Since(began)
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// What one says all hear soon; one that was away hears it before it settles, or soon
// after it is back.
func TestFactsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTalkative(t, 5)
		defer c.close()
		c.awaitAlive(10*time.Second, c.members, numbers(5)...)
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		c.boards[0].claim(c.members[0], a)
		took := c.awaitClaim(2*time.Second, a, nameOf(0), c.boards...)
		t.Logf("all 5 members know of a claim after %s", took)

		// Cut off, it hears nothing; the others take over.
		c.net.move(1, ipOf(0))
		c.awaitAlive(20*time.Second, c.members[1:], 1, 2, 3, 4)
		c.boards[1].claim(c.members[1], a)
		c.awaitClaim(2*time.Second, a, nameOf(1), c.boards[1:]...)
		c.net.move(0, ipOf(0))
		c.awaitAlive(30*time.Second, c.members[:1], numbers(5)...)
		took = c.awaitClaim(2*time.Second, a, nameOf(1), c.boards[0])
		t.Logf("the one that was cut off knows of it %s after it is back", took)

		// One that starts anew has forgotten, and learns before it settles.
		c.boards[2].claim(c.members[2], b)
		c.awaitClaim(2*time.Second, b, nameOf(2), c.boards...)
		c.leave(c.members[3])
		c.prepareTalking(3)
		c.members[3].SetPeers(c.nodes())
		c.run(c.members[3])
		<-c.members[3].Settled()
		if node := c.boards[3].claimant(b); node != nameOf(2) {
			t.Errorf("settled, and believes that %q claims %s", node, b)
		}
	})
}

// What is said while a member is cut off for so short a time that nobody takes it for dead
// it hears when it is back.
func TestShortCut(t *testing.T) {
	for seed := range 5 {
		synctest.Test(t, func(t *testing.T) {
			c := newTalkative(t, 3)
			defer c.close()
			c.awaitAlive(10*time.Second, c.members, numbers(3)...)
			time.Sleep(5*time.Second + time.Duration(seed)*40*time.Millisecond) // fake: to another moment between probes
			a := netip.MustParseAddr("192.0.2.1")
			c.boards[0].claim(c.members[0], a)
			c.awaitClaim(2*time.Second, a, nameOf(0), c.boards...)

			c.net.move(1, ipOf(0))
			c.boards[1].claim(c.members[1], a)
			time.Sleep(500 * time.Millisecond) // fake
			for i, m := range c.members {
				if n := len(m.Alive()); n != 3 {
					t.Fatalf("%s counts %d members alive: the cut was too long for this test", nameOf(i), n)
				}
			}
			c.net.move(0, ipOf(0))
			took := c.awaitClaim(time.Second, a, nameOf(1), c.boards...)
			t.Logf("known %s after the cut", took)
		})
	}
}

// most is how many members TestManyMembers has in the end; make bench has 200.
var most = flag.Int("most", 50, "members of the largest cluster in TestManyMembers")

// Many members: how long until all have met, until all know a claim, until all know of a
// death. The time is simulated, the members and what they say are not.
func TestManyMembers(t *testing.T) {
	// Go 1.26's race detector crashes now and then, within itself, when timers of one bubble
	// start goroutines on two threads at a time; memberlist starts thousands.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, n := range []int{10, *most} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c := newTalkative(t, n)
			defer c.close()
			c.awaitAlive(time.Minute, c.members, numbers(n)...)
			met := time.Since(began)
			time.Sleep(5 * time.Second) // fake: what was said while they met has been heard

			a := netip.MustParseAddr("192.0.2.1")
			c.boards[0].claim(c.members[0], a)
			known := c.awaitClaim(time.Minute, a, nameOf(0), c.boards...)

			first, last := c.awaitDeath(n - 1)
			t.Logf("| %d members | all met %s | all know a claim %s | first notices a death %s | all %s |",
				n, round(met), round(known), round(first), round(last))
			if met > 20*time.Second || known > 2*time.Second || last > 10*time.Second {
				t.Errorf("%d members take too long", n)
			}
		})
	}
}

// awaitDeath cuts a member off and returns when the first and when the last of the others
// took note.
func (c *talkative) awaitDeath(i int) (first, last time.Duration) {
	c.t.Helper()
	began := time.Now()
	c.net.move(1, ipOf(i))
	others := slices.Delete(slices.Clone(c.members), i, i+1)
	for knows := 0; knows < len(others); {
		time.Sleep(10 * time.Millisecond) // fake time
		knows = 0
		for _, m := range others {
			if _, alive := m.Alive()[nameOf(i)]; !alive {
				knows++
			}
		}
		if knows > 0 && first == 0 {
			first = time.Since(began)
		}
		if time.Since(began) > time.Minute {
			c.t.Fatalf("%d of %d know of a death after a minute", knows, len(others))
		}
	}
	return first, time.Since(began)
}

func round(d time.Duration) string { return fmt.Sprint(d.Round(10 * time.Millisecond)) }
