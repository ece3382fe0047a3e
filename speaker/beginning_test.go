// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
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
