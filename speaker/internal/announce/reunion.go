// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// reunionTime is how long a node whose link has come back listens before it answers again
// under failback Never. It takes BFD up to two seconds to find the others, who speak once
// a second to those whom they have lost, and them a few milliseconds to tell what they
// have taken over.
const reunionTime = 3 * time.Second

// hearingTime is how long a node that others have missed listens before it announces again
// what it has, under failback Never. Its gossip compares with others several times a second.
const hearingTime = time.Second

// reunions are the interfaces that have come back a moment ago. They belong to the
// goroutine of Run.
//
// A link that has been down for longer than 0.2 s has cost this node its addresses.
// Whoever says at once that it has them, as is right under failback Immediate, draws
// connections away from the node that has them now.
type reunions struct {
	ups   map[int]uint32 // how often each interface has come up, by its index
	ends  map[int]time.Time
	timer *time.Timer
	// renewal ends hearingTime.
	renewal *time.Timer
}

func newReunions() reunions {
	r := reunions{
		ups: make(map[int]uint32), ends: make(map[int]time.Time),
		timer: time.NewTimer(reunionTime), renewal: time.NewTimer(hearingTime),
	}
	r.timer.Stop()
	r.renewal.Stop()
	return r
}

// Renew announces again what this node announces, because others may have taken it for
// gone. It does not block.
func (l *Loop) Renew() { ring(l.renewals) }

// missed renews what this node announces: at once, or, under failback Never, when it has
// heard what others have taken over.
func (l *Loop) missed() {
	if l.Facts == nil || l.Failback != Never {
		l.renew()
		return
	}
	l.reunions.renewal.Reset(hearingTime)
}

// holdBack changes the interfaces that have just come back to be still down, until the
// timer ends that.
func (l *Loop) holdBack(interfaces []layer2.Interface) {
	if l.Facts == nil || l.Failback != Never {
		return
	}
	r, now := &l.reunions, time.Now()
	for i := range interfaces {
		x := &interfaces[i]
		if before, seen := r.ups[x.Index]; seen && x.Up && x.Ups != before {
			r.ends[x.Index] = now.Add(reunionTime)
			r.timer.Reset(reunionTime)
		}
		r.ups[x.Index] = x.Ups
		if end, held := r.ends[x.Index]; held && now.Before(end) {
			x.Up = false
		} else {
			delete(r.ends, x.Index)
		}
	}
}
