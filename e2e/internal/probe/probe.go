// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Ask asks once and returns who answered. Its error means that nobody did. It must
// return when ctx ends.
type Ask func(ctx context.Context) (by string, err error)

// Probe asks again and again. Its methods may be called by several goroutines at
// once, and while it runs.
type Probe struct {
	every, patience time.Duration
	ask             Ask

	mu       sync.Mutex // guards the fields below
	asked    int
	answers  []Answer
	failures []Failure
	lastErr  error
	late     time.Duration
}

// Answer is one answer.
type Answer struct {
	// At is when it arrived.
	At time.Time
	// By is who gave it.
	By string
}

// Failure is a question that nobody answered in time.
type Failure struct {
	// Asked is when it was put.
	Asked time.Time
	Err   error
}

// Gap is a time without an answer.
type Gap struct {
	Length time.Duration
	// Before and After are the answers at its two ends.
	Before, After Answer
}

// New returns a Probe that asks every so often and waits for each answer no longer
// than patience. It starts nothing.
func New(every, patience time.Duration, ask Ask) *Probe {
	return &Probe{every: every, patience: patience, ask: ask}
}

// Run asks until ctx ends.
func (p *Probe) Run(ctx context.Context) {
	var questions sync.WaitGroup
	defer questions.Wait()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		before := time.Now()
		questions.Go(func() { p.once(ctx) })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.overslept(time.Since(before) - p.every)
		}
	}
}

// overslept takes note of how much too late a tick came.
func (p *Probe) overslept(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = max(p.late, by)
}

func (p *Probe) once(ctx context.Context) {
	p.mu.Lock()
	p.asked++
	at := time.Now()
	p.mu.Unlock()

	patient, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	by, err := p.ask(patient)

	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil: // the clock is read under the lock, so that the answers are in order
		p.answers = append(p.answers, Answer{At: time.Now(), By: by})
	case ctx.Err() == nil:
		p.lastErr = err
		p.failures = append(p.failures, Failure{Asked: at, Err: err})
	}
}

// Counts returns how many questions were asked and how many were answered.
func (p *Probe) Counts() (asked, answered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, len(p.answers)
}

// Last returns the most recent answer, and the error of the most recent question that
// got none; both zero if there is no such thing.
func (p *Probe) Last() (Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) == 0 {
		return Answer{}, p.lastErr
	}
	return p.answers[len(p.answers)-1], p.lastErr
}

// Since returns the answers that arrived after t, in order of arrival.
func (p *Probe) Since(t time.Time) []Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := slices.BinarySearchFunc(p.answers, t, func(a Answer, t time.Time) int { return a.At.Compare(t) })
	return slices.Clone(p.answers[i:])
}

// Failures returns the questions that were not answered, in the order in which they were
// given up. Those that Run's end cut short are not among them.
func (p *Probe) Failures() []Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.failures)
}

// Late returns by how much the rhythm was missed, at worst: what the machine, and nobody
// who is judged here, took.
func (p *Probe) Late() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// Longest returns the longest time between two answers that followed each other; the
// zero Gap if there were fewer than two. What has not ended yet is not counted.
func (p *Probe) Longest() Gap {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest Gap
	for i := 1; i < len(p.answers); i++ {
		before, after := p.answers[i-1], p.answers[i]
		if length := after.At.Sub(before.At); length > longest.Length {
			longest = Gap{Length: length, Before: before, After: after}
		}
	}
	return longest
}
