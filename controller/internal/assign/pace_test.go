// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flow writes for a while through a pace, each write taking 10 ms, while Services arrive
// every so often. It returns how many were written, and the most at once.
func flow(t *testing.T, p *pace, every time.Duration, backlog int) (written, most int) {
	t.Helper()
	const during = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		now   int
	)
	if every > 0 {
		group.Go(func() {
			for ctx.Err() == nil {
				p.arrive()
				time.Sleep(every)
			}
		})
	}
	for range writers {
		group.Go(func() {
			for ctx.Err() == nil {
				leave := p.enter(ctx, func() int { return backlog })
				mu.Lock()
				now++
				written++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				leave()
			}
		})
	}
	group.Wait()
	return written, most
}

func TestPace(t *testing.T) {
	const full = writers * 200 // in 2 s
	for _, tt := range []struct {
		name     string
		every    time.Duration // a Service arrives; zero: none do
		backlog  int
		from, to int // writes
	}{
		{"nobody makes Services", 0, 100, full, full + writers},
		{"now and then one", 100 * time.Millisecond, 100, full, full + writers},
		// What was on its way when the crowd began is written at once.
		{"a crowd", time.Millisecond, 100, 18, 24 + 4*writers},
		{"a crowd for too long", time.Millisecond, crowdBacklog, full, full + writers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				written, _ := flow(t, newPace(), tt.every, tt.backlog)
				if written < tt.from || written > tt.to {
					t.Errorf("%d writes, want %d to %d", written, tt.from, tt.to)
				}
			})
		})
	}
}

// TestPaceAfterCrowd has a crowd end: nobody waits for longer than a window.
func TestPaceAfterCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		if _, most := flow(t, p, time.Millisecond, 0); most > writers {
			t.Errorf("%d at once, want %d", most, writers)
		}
		time.Sleep(crowdWindow)
		if written, most := flow(t, p, 0, 0); most != writers {
			t.Errorf("%d writes, %d at once, want %d at once", written, most, writers)
		}
	})
}

// TestPaceEnds has a term end while others have the turn.
func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range crowd {
			p.arrive()
		}
		none := func() int { return 0 }
		leave := p.enter(t.Context(), none)
		ctx, cancel := context.WithCancel(t.Context())
		entered := make(chan struct{})
		go func() {
			p.enter(ctx, none)()
			close(entered)
		}()
		synctest.Wait()
		select {
		case <-entered:
			t.Fatal("two write at once in a crowd")
		default:
		}
		cancel()
		<-entered
		leave()
		if !p.calm() {
			t.Error("a write is on its way after all have ended")
		}
	})
}
