// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// intervals is how many intervals of probing a soak takes: 83 minutes at 50 ms.
const intervals = 100_000

// soaked is what happened in a soak.
type soaked struct {
	suspicions, confirmed, doubts uint64
	// wrong is how many takeovers there were from speakers that answered.
	wrong int
	// longest is for how long a speaker that answered was gone for another at most.
	longest time.Duration
}

// soak lets a cluster live for that long under loss and starvation.
func soak(t *testing.T, loss float64, starve func(c *cluster)) (s soaked) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		stop := c.run()
		defer stop()
		time.Sleep(time.Second)
		c.set(func() { c.loss = loss })
		const look = 25 * time.Millisecond
		since := make(map[[2]int]time.Duration)
		for begin := time.Now(); time.Since(begin) < intervals*interval; {
			starve(c)
			for range 20 {
				time.Sleep(look)
				for _, pair := range c.contradictions(since) {
					since[pair] += look
					s.longest = max(s.longest, since[pair])
				}
			}
		}
		for _, h := range c.nodes {
			s.suspicions += h.count(suspect.Suspected)
			s.confirmed += h.count(suspect.Confirmed)
			s.doubts += h.count(suspect.Doubted)
		}
		c.set(func() { c.loss, s.wrong = 0, c.wrong })
		time.Sleep(5 * time.Second)
		for _, h := range c.nodes {
			h.expectPresent(0, 1, 2)
		}
	})
	return s
}

// contradictions returns who is gone for whom and would answer, and forgets how long that
// was so of the others.
func (c *cluster) contradictions(since map[[2]int]time.Duration) (pairs [][2]int) {
	for i, h := range c.nodes {
		alive := h.Alive()
		for j, other := range c.nodes {
			_, present := alive[other.name]
			c.mu.Lock()
			answers := time.Now().Before(other.until)
			c.mu.Unlock()
			if present || !answers {
				delete(since, [2]int{i, j})
				continue
			}
			pairs = append(pairs, [2]int{i, j})
		}
	}
	return pairs
}

// Packets are lost at random, one in twenty: three in a row now and then, which is a
// suspicion; a question with all its answers hardly ever.
func TestSoakUnderLoss(t *testing.T) {
	s := soak(t, 0.05, func(*cluster) {})
	t.Logf("%+v", s)
	if s.suspicions == 0 {
		t.Error("nobody was suspected: that shows nothing")
	}
	if s.confirmed > 0 || s.longest > 0 {
		t.Error("want nobody taken for gone")
	}
}

// Speakers are starved of CPU besides, twice a second one of them, for up to 0.4 s. One that
// is starved for longer than its lease is replaced, rightly: it answers nobody meanwhile.
// None is replaced that answers, and one that answers again is soon heard of.
func TestSoakUnderStarvation(t *testing.T) {
	s := soak(t, 0.05, func(c *cluster) {
		c.mu.Lock()
		h := c.nodes[c.random.IntN(len(c.nodes))]
		d := time.Duration(c.random.Int64N(int64(400 * time.Millisecond)))
		c.mu.Unlock()
		h.freeze(d)
	})
	t.Logf("%+v", s)
	if s.confirmed == 0 || s.doubts == 0 {
		t.Error("nobody was starved: that shows nothing")
	}
	if s.wrong > 0 {
		t.Error("want nobody replaced that answers")
	}
	if s.longest > 500*time.Millisecond {
		t.Error("want nobody gone for another that answers, for longer than 500 ms")
	}
}
