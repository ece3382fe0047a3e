// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

const (
	// longestHandover is how long an address that has gone to another node is answered
	// for, until that node says that it does. It may just be starting.
	longestHandover = time.Second
	// readyCounts is how long ago a node may have said so before this one knew of it.
	readyCounts = 100 * time.Millisecond
)

// Handover is how speakers tell each other that they answer. vigil.Vigil carries it.
type Handover interface {
	// SayReady tells the others that this node answers for all that is its own.
	SayReady()
	// Ready has the speakers that say so.
	Ready() <-chan lb.NodeName
}

// handovers are the addresses that have gone to other nodes and that this one still
// answers for: make before break. They belong to the goroutine of Run.
type handovers struct {
	leaving map[netip.Addr]departure
	ready   map[lb.NodeName]time.Time // when each speaker was ready last
	timer   *time.Timer
	// taken says that this round has begun to answer for an address.
	taken bool
}

// departure is an address on its way to another node.
type departure struct {
	to lb.NodeName
	by time.Time
}

func newHandovers() handovers {
	h := handovers{
		leaving: make(map[netip.Addr]departure), ready: make(map[lb.NodeName]time.Time),
		timer: time.NewTimer(longestHandover),
	}
	h.timer.Stop()
	return h
}

// giveUp ceases to answer for an address: at once if nobody else is to, else when the
// other node does.
func (l *Loop) giveUp(a netip.Addr, v *plan.Verdict) {
	h, now := &l.handovers, time.Now()
	if l.Handover == nil || v.Owner == "" || v.Owner == l.Node || now.Sub(h.ready[v.Owner]) < readyCounts {
		l.Layer2.Withdraw(a)
		return
	}
	if len(h.leaving) == 0 {
		h.timer.Reset(longestHandover)
	}
	h.leaving[a] = departure{to: v.Owner, by: now.Add(longestHandover)}
}

// takeUp begins to announce an address. One that was about to leave is announced anew:
// others may know the node that it was leaving for.
func (l *Loop) takeUp(a netip.Addr) {
	l.handovers.taken = true
	if _, ok := l.handovers.leaving[a]; ok {
		l.complete(a)
	}
}

// complete ceases to answer for an address that has left.
func (l *Loop) complete(a netip.Addr) {
	delete(l.handovers.leaving, a)
	l.Layer2.Withdraw(a)
}

// heardReady completes what has gone to a node that answers now.
func (l *Loop) heardReady(from lb.NodeName) {
	l.handovers.ready[from] = time.Now()
	for a, d := range l.handovers.leaving {
		if d.to == from {
			l.complete(a)
		}
	}
}

// expireHandovers completes what has waited long enough.
func (l *Loop) expireHandovers() {
	now := time.Now()
	next := longestHandover
	for a, d := range l.handovers.leaving {
		if !d.by.After(now) {
			l.complete(a)
			continue
		}
		next = min(next, d.by.Sub(now))
	}
	if len(l.handovers.leaving) > 0 {
		l.handovers.timer.Reset(next)
	}
}

// sayReady ends a round: those whose addresses were taken up may stop.
func (l *Loop) sayReady() {
	if l.handovers.taken && l.Handover != nil {
		l.Handover.SayReady()
	}
	l.handovers.taken = false
}

// readiness returns where other speakers say that they are ready, nil without handover.
func (l *Loop) readiness() <-chan lb.NodeName {
	if l.Handover == nil {
		return nil
	}
	return l.Handover.Ready()
}
