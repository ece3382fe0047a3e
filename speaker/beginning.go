// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// gcPercent trades processor time, of which a speaker uses little, for memory: most of
	// the heap are objects, which live long.
	gcPercent = 20
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

// until returns the task that ends the beginning once probe returns nil, and has nothing
// to do then.
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
		<-ctx.Done()
		return nil
	}
}

func (b *beginning) end() {
	if b.tune {
		debug.SetGCPercent(gcPercent)
		debug.FreeOSMemory()
	}
	close(b.over)
}
