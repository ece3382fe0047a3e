// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// reunionTime is how long a node whose link has come back listens before it answers again:
// at most, if it keeps connections, and under failback Never always. It takes BFD up to two
// seconds to find the others, who speak once a second to those whom they have lost, and them
// a few milliseconds to tell what they have taken over.
const reunionTime = 3 * time.Second

// hearingTime is how long a node that others have missed listens before it announces again
// what it has, under failback Never. Its gossip compares with others several times a second.
const hearingTime = time.Second

const (
	// lookAroundAgain is how long after a question whether others have taken over another
	// one is asked.
	lookAroundAgain = 100 * time.Millisecond
	// lookAroundEnough is how often in a row nobody must have: who has may be a busy machine.
	lookAroundEnough = 3
)

// unnoticed is how long a link may be down without anybody missing this node.
const unnoticed = 100 * time.Millisecond

// reunions are the interfaces that have come back a moment ago. They belong to the
// goroutine of Run.
//
// A link that has been down for longer than 0.2 s has cost this node its addresses.
// Whoever says at once that it has them draws connections away from the node that has them
// now: under failback Immediate, too, it has to know first which node that is.
type reunions struct {
	ups   map[int]uint32    // how often each interface has come up, by its index
	downs map[int]time.Time // since when it has been down
	ends  map[int]time.Time
	timer *time.Timer
	// renewal ends hearingTime.
	renewal *time.Timer
	// question is when to ask whether others have taken over, alone takes what comes of it,
	// nobody has, and times counts how often in a row.
	question *time.Timer
	alone    chan bool
	times    int
}

func newReunions() reunions {
	r := reunions{
		ups: make(map[int]uint32), downs: make(map[int]time.Time), ends: make(map[int]time.Time),
		timer: time.NewTimer(reunionTime), renewal: time.NewTimer(hearingTime),
		question: time.NewTimer(lookAroundAgain), alone: make(chan bool, 1),
	}
	r.timer.Stop()
	r.renewal.Stop()
	r.question.Stop()
	return r
}

// Renew announces again what this node announces, because others may have taken it for
// gone. It does not block.
func (l *Loop) Renew() { ring(l.renewals) }

// missed renews what this node announces: at once, or, under failback Never, when it has
// heard what others have taken over.
func (l *Loop) missed() {
	if l.handovers.departing {
		return // they are to miss it
	}
	l.unsettle()
	if l.Facts == nil || l.Failback != Never {
		l.renew()
		return
	}
	l.reunions.renewal.Reset(hearingTime)
}

// holdBack has nothing announced on the interfaces that have just come back, until the timer
// ends that, or others say that they have missed this node, or the LAN that nobody has.
func (l *Loop) holdBack(interfaces []layer2.Interface) {
	r, now := &l.reunions, time.Now()
	for i := range interfaces {
		x := &interfaces[i]
		if before, seen := r.ups[x.Index]; seen && x.Up && x.Ups != before && l.mayBeMissed(x, now) {
			r.ends[x.Index] = now.Add(reunionTime)
			r.timer.Reset(reunionTime)
			r.question.Reset(0)
			r.times = 0
		}
		r.ups[x.Index] = x.Ups
		if x.Up {
			delete(r.downs, x.Index)
		} else if _, down := r.downs[x.Index]; !down {
			r.downs[x.Index] = now
		}
		end, held := r.ends[x.Index]
		if x.Held = held && now.Before(end); !x.Held {
			delete(r.ends, x.Index)
		}
	}
}

// mayBeMissed says whether others may have taken over while an interface was down that has
// just come back, and whether that matters.
func (l *Loop) mayBeMissed(x *layer2.Interface, now time.Time) bool {
	if l.Failback == Never {
		return l.Facts != nil
	}
	down, seen := l.reunions.downs[x.Index]
	return seen && now.Sub(down) >= unnoticed && l.keepsConnections() && l.reachesNodes(x.Name)
}

// reachesNodes says whether other nodes are on the link of an interface.
func (l *Loop) reachesNodes(name string) bool {
	subnets := l.subnetsOn(func(i string) bool { return i == name })
	return slices.ContainsFunc(l.nodes, func(n lb.Node) bool {
		return n.Name != l.Node && slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool { return contains(subnets, a) })
	})
}

// release ends what holdBack does, when this node knows who has its addresses.
func (l *Loop) release() {
	if l.Failback == Never || len(l.reunions.ends) == 0 {
		return
	}
	clear(l.reunions.ends)
	l.reunions.timer.Stop()
	l.follow()
}

// lookAround begins to ask whether others have taken over what this node has: a whole LAN
// may have been down, or the link for so short a time that nobody has missed it. What comes
// of it arrives in alone. The questions end with ctx, and asking with them.
func (l *Loop) lookAround(ctx context.Context, asking *sync.WaitGroup) {
	if l.LAN == nil || l.Failback == Never || len(l.reunions.ends) == 0 {
		return
	}
	ours, theirs := l.sampleOfOurs(), l.nodesOnLinks()
	asking.Go(func() {
		begun := time.Now()
		answer, _ := l.LAN.Ask(ctx, ours, false)
		alone := answer == layer2.Silence && time.Since(begun) <= promptQuestion
		if alone { // or not heard
			answer, _ = l.LAN.Ask(ctx, theirs, false)
			alone = answer == layer2.Answered
		}
		select {
		case l.reunions.alone <- alone:
		case <-ctx.Done():
		}
	})
}

// lookedAround takes what came of a question: if nobody has taken over, this node answers
// as if nothing had been.
func (l *Loop) lookedAround(alone bool) {
	r := &l.reunions
	if r.times++; !alone {
		r.times = 0
	}
	switch {
	case len(r.ends) == 0:
	case r.times >= lookAroundEnough:
		l.release()
	default:
		r.question.Reset(lookAroundAgain)
	}
}

// sampleOfOurs returns some of the addresses that this node announces.
func (l *Loop) sampleOfOurs() []layer2.Announcement {
	var ours []layer2.Announcement
	for a, rec := range l.reporter.records {
		if len(ours) == sample {
			break
		}
		if rec.announced {
			ours = append(ours, layer2.Announcement{Address: a, Interfaces: rec.interfaces})
		}
	}
	return ours
}

// nodesOnLinks returns addresses of some other nodes, for which their kernels answer: who
// hears one of them is heard.
func (l *Loop) nodesOnLinks() []layer2.Announcement {
	var found []layer2.Announcement
	subnets := l.subnetsOn(l.announcesOn)
	for i := range l.nodes {
		for _, a := range l.nodes[i].Addresses {
			if l.nodes[i].Name != l.Node && len(found) < witnessesEnough && contains(subnets, a) {
				found = append(found, layer2.Announcement{Address: a})
			}
		}
	}
	return found
}
