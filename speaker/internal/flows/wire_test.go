// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// This is what happens without the package: the test of the tests.
func TestWithoutEntryConnectionsAreReset(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, w *world) {
		w.move(w.a)
		c := w.open(w.a)
		w.move(w.b)
		if err := c.echo(100); !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("got %v, want a reset", err)
		}
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
		must(t, c.echo(20<<20))
		w.open(w.b).works()
		c.works()
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
