// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"sync"
	"time"
)

const (
	// crowd is how many Services made within crowdWindow are so many that whoever makes
	// them is kept waiting by our writes. It lasts as long as that again.
	crowd       = 20
	crowdWindow = 500 * time.Millisecond
	// generosity is how much longer than a write the pause after it is in a crowd.
	generosity = 10
	// crowdBacklog is how many Services may wait for a write in favour of those who make
	// more. It takes an API server about ten seconds to write so many.
	crowdBacklog = 5000
)

// pace lets all writers write at once, except while a crowd of Services is being made:
// then one write goes at a time, with a pause after it, until the crowd is over or too
// many wait.
//
// To the API server a write costs about half of what a new Service costs. If each of a
// crowd got its address at once, creating them would take half as long again, and the
// last address would come no sooner. The pause depends on how long the write took, so an
// API server with time to spare makes none that could be felt.
//
// It is safe for concurrent use.
type pace struct {
	// turn is taken by who writes in a crowd.
	turn chan struct{}
	// next is when the next write may go. Who has the turn may touch it.
	next time.Time

	mu       sync.Mutex // guards what follows
	begun    time.Time  // of the window
	arrivals int        // in the window
	until    time.Time  // when the crowd is over
	active   int
}

func newPace() *pace { return &pace{turn: make(chan struct{}, 1)} }

// arrive notes a Service that has just been made.
func (p *pace) arrive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.begun) > crowdWindow {
		p.begun, p.arrivals = now, 0
	}
	if p.arrivals++; p.arrivals >= crowd {
		p.until = now.Add(crowdWindow)
	}
}

// crowded reports whether writes go one at a time.
func (p *pace) crowded(backlog int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return backlog < crowdBacklog && time.Now().Before(p.until)
}

// calm reports whether no write is on its way.
func (p *pace) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active == 0
}

// enter returns when one more write may go, or when ctx ends. What it returns is to be
// called after the write.
func (p *pace) enter(ctx context.Context, backlog func() int) (leave func()) {
	p.count(1)
	if !p.crowded(backlog()) || !p.takeTurn(ctx) {
		return func() { p.count(-1) }
	}
	if !p.crowded(backlog()) { // any more
		<-p.turn
		return func() { p.count(-1) }
	}
	started := time.Now()
	return func() {
		p.count(-1)
		p.next = time.Now().Add(min(generosity*time.Since(started), crowdWindow))
		<-p.turn
	}
}

// takeTurn waits for the turn of a writer and for the end of the pause. It reports
// false if ctx ends first.
func (p *pace) takeTurn(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case p.turn <- struct{}{}:
	}
	pause := time.NewTimer(time.Until(p.next))
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	return true
}

func (p *pace) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active += n
}
