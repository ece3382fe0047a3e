// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// This is what happens without the package: the test of the tests.
func TestWithoutEntryConnectionsAreReset(t *testing.T) {
	inBothFamilies(t, func(_ *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.move(w.b)
		c.isReset()
	})
}

func TestConnectionsGoOn(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		c.works()
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		c.works()
		must(t, c.echo(20<<20)) // both ways at once, in segments of any size
		w.open(w.b).works()     // what begins now is served here
		c.works()
		if got := w.b.count(); got.PassedOn == 0 || got.Dropped != 0 {
			t.Errorf("counted %+v", got)
		}
	})
}

// Segments are under way while the address moves, and when it moves back.
func TestTransferGoesOnDuringMoves(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		enough, done := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				select {
				case <-enough:
					done <- nil
					return
				default:
					if err := c.echo(4 << 20); err != nil {
						done <- err
						return
					}
				}
			}
		}()
		for range 10 {
			w.move(w.b)
			w.move(w.a)
		}
		close(enough)
		must(t, <-done)
		if got := w.b.count(); got.PassedOn == 0 {
			t.Errorf("B has counted %+v", got)
		}
	})
}

// The end of a connection gets through as well as its middle.
func TestConnectionsEnd(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		must(t, c.CloseWrite())
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("got %v, want the end", err)
		}
	})
}

// nf_conntrack_tcp_loose=0 makes unknown packets invalid instead of new.
func TestStrictConnectionTracking(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		for _, n := range []*node{w.a, w.b} {
			n.Sysctl(t, "net/netfilter/nf_conntrack_tcp_loose", "0")
		}
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		must(t, c.echo(1<<20))
		w.open(w.b).works()
	})
}

// rp_filter=1 wants the client's packets where it would send answers.
func TestStrictReversePath(t *testing.T) {
	w := newWorld(t, lan4)
	for _, n := range []*node{w.a, w.b} {
		n.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
		n.Sysctl(t, "net/ipv4/conf/eth0/rp_filter", "1")
	}
	w.move(w.a)
	c := w.open(w.a)
	w.b.keep(w.a, time.Minute)
	w.move(w.b)
	c.works()
}

// An address moves twice, and then back: all connections find their nodes.
func TestConnectionsGoOnOverSeveralNodes(t *testing.T) {
	inBothFamilies(t, func(_ *testing.T, w *world) {
		w.move(w.a)
		first := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		second := w.open(w.b)
		w.c.keep(w.b, time.Minute)
		w.move(w.c)
		third := w.open(w.c)
		first.works()
		second.works()
		third.works()

		w.a.keep(w.c, time.Minute)
		w.move(w.a)
		first.works()
		second.works() // over C
		third.works()
		w.open(w.a).works()
	})
}

// Two nodes that lead to each other do not keep a packet for ever.
func TestLoopsEnd(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.c)
		c := w.open(w.c)
		w.a.keep(w.b, time.Minute)
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		_, err := c.Write([]byte("x"))
		must(t, err)
		const lifetime = 64 // of what Linux sends
		var a, b flows.Count
		linktest.Await(t, func() bool { // the client sends it again now and then
			a, b = w.a.count(), w.b.count()
			dropped := a.Dropped + b.Dropped
			return dropped > 0 && a.PassedOn+b.PassedOn == (lifetime-1)*dropped
		}, func() { t.Logf("A has counted %+v, B %+v", a, b) })
	})
}

func TestEntriesExpire(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		before := w.b.rules()
		w.b.keep(w.a, 300*time.Millisecond)
		linktest.Await(t, func() bool { return len(w.b.entries()) == 0 }, func() { t.Log(w.b.entries()) })
		w.move(w.b)
		c.isReset()
		w.b.do((*flows.Table).Prune)
		if after := w.b.rules(); after != before {
			t.Errorf("the table is still there:\n%s", after)
		}
	})
}

func TestForgottenConnectionsAreReset(t *testing.T) {
	inBothFamilies(t, func(_ *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		w.b.do(func(table *flows.Table) error { return table.Forget(w.c.address) }) // another node
		w.move(w.b)
		c.works()
		w.b.do(func(table *flows.Table) error { return table.Forget(w.a.address) })
		c.isReset()
	})
}

func TestAnotherProcessAdoptsEntries(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		before := w.b.entries()
		w.b.reopen()
		w.move(w.b)
		c.works()
		after := w.b.entries()
		if len(before) != 1 || len(after) != 1 || after[0].Former != w.a.address ||
			after[0].Left > before[0].Left || after[0].Left < 50*time.Second {
			t.Fatalf("entries were %+v and are %+v", before, after)
		}
	})
}

// Firewalls are reloaded with "flush ruleset" at their beginning.
func TestRulesAreMadeAgain(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.b.keep(w.a, time.Minute)
		run(t, w.b.Namespace, "", "nft", "flush", "ruleset")
		if got := w.b.entries(); len(got) != 0 {
			t.Fatalf("entries without a table: %v", got)
		}
		w.b.keep(w.a, time.Minute)
		w.move(w.b)
		c.works()
		run(t, w.b.Namespace, "", "nft", "flush", "chain", w.nft, "herald", "prerouting")
		w.b.keep(w.a, time.Minute)
		c.works()
	})
}

// isReset fails the test unless the other side resets the connection.
func (c *connection) isReset() {
	c.t.Helper()
	if err := c.echo(100); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		c.t.Fatalf("got %v, want a reset", err)
	}
}
