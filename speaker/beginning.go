// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent trades processor time, of which a speaker uses little, for memory: most of
	// the heap are objects, which live long.
	gcPercent = 20
	// gcRoom is what a small heap may grow by all the same, in bytes, at most to gcMost
	// percent: a round after a death should not end in looking for garbage several times.
	gcRoom = 12 << 20
	gcMost = 200
	// tuneInterval is how often the size of the heap is looked at.
	tuneInterval = time.Minute
	// beginningGCPercent is for the time in which they are read. The heap grows from nothing
	// then, and with gcPercent half of all processor time went into looking for garbage.
	beginningGCPercent = 50
	// readyPoll is how often it is looked whether that time is over.
	readyPoll = 100 * time.Millisecond
)

// beginning is the time from the start of the process until this node announces all that
// it should, and its routers know. What is not needed for that gives way.
type beginning struct {
	over chan struct{}
	// tune says that nobody else has said how to collect garbage.
	tune bool
}

// newBeginning begins. tune says whether to decide how garbage is collected.
func newBeginning(tune bool) *beginning {
	if tune {
		debug.SetGCPercent(beginningGCPercent)
	}
	return &beginning{over: make(chan struct{}), tune: tune}
}

// until returns the task that ends the beginning once probe returns nil, and from then on
// sees to it that garbage is collected as suits the size of the heap.
func (b *beginning) until(probe func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(readyPoll)
		defer tick.Stop()
		for probe() != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		b.end()
		b.collect(ctx)
		return nil
	}
}

func (b *beginning) end() {
	if b.tune {
		debug.FreeOSMemory()
		debug.SetGCPercent(gcPercentFor(liveHeap()))
	}
	close(b.over)
}

// collect tunes the collection of garbage until ctx ends.
func (b *beginning) collect(ctx context.Context) {
	tick := time.NewTicker(tuneInterval)
	defer tick.Stop()
	for percent := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := gcPercentFor(liveHeap()); b.tune && now != percent {
			debug.SetGCPercent(now)
			percent = now
		}
	}
}

// gcPercentFor returns by how many percent a heap may grow before garbage is looked for.
func gcPercentFor(live uint64) int {
	return int(min(gcMost, max(gcPercent, gcRoom*100/max(1, live))))
}

// liveHeap is what the last look for garbage has found to be in use, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
