// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// The beginning is over when the probe says so, and not before.
func TestBeginningEndsWhenReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBeginning(false)
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- b.until(func() error {
				if time.Since(begun) < time.Minute {
					return errors.New("not yet")
				}
				return nil
			})(ctx)
		}()
		<-b.over
		if took := time.Since(begun); took < time.Minute || took > time.Minute+readyPoll {
			t.Errorf("over after %s, want a minute", took)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A process that is told to end before it was ready ends.
func TestBeginningEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBeginning(false)
	if err := b.until(func() error { return errors.New("not yet") })(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-b.over:
		t.Error("the beginning is over although nothing was ready")
	default:
	}
}

// Small heaps have room, large ones are kept tight.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: gcMost, 4 << 20: gcMost, 12 << 20: 100, 48 << 20: 25, 60 << 20: 20, 1 << 30: gcPercent} {
		if got := gcPercentFor(live); got != want {
			t.Errorf("%d MB: %d %%, want %d", live>>20, got, want)
		}
	}
	runtime.GC()
	if live := liveHeap(); live == 0 {
		t.Error("the live heap is not known")
	}
}
