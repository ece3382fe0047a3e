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
	leaving  map[netip.Addr]departure
	ready    map[lb.NodeName]time.Time // when each speaker was ready last
	timer    *time.Timer
	farewell *farewell // nil unless this speaker waits for its heirs
	// departing says that this speaker ends. It takes nothing up any more: where all go at
	// once, each would take over from all others.
	departing bool
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

// giveUp ceases to answer for an address: at once if nobody else is to, or if the other
// node has claimed it and so does, else when that node says that it does.
func (l *Loop) giveUp(a netip.Addr, v *plan.Verdict) {
	h, now := &l.handovers, time.Now()
	if l.Handover == nil || v.Owner == "" || v.Owner == l.Node || now.Sub(h.ready[v.Owner]) < readyCounts ||
		l.holds(v.Owner, a) {
		l.Layer2.Withdraw(a)
		return
	}
	if len(h.leaving) == 0 {
		h.timer.Reset(longestHandover)
	}
	h.leaving[a] = departure{to: v.Owner, by: now.Add(longestHandover)}
}

// holds says that it is a node's claim on the address that counts.
func (l *Loop) holds(node lb.NodeName, a netip.Addr) bool {
	_, holder := l.claimants(a)
	return holder == node
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
	if f := l.handovers.farewell; f != nil {
		delete(f.heirs, from)
		l.progress()
	}
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

// farewell is the handover of all addresses, when this speaker ends.
type farewell struct {
	// heirs are those that are not ready yet; it belongs to the goroutine of Run.
	heirs map[lb.NodeName]struct{}
	done  chan struct{} // closed when there are none
}

// Depart begins the handover of all that this node answers for, before the others are
// told that it goes. What it returns waits until those that take over say that they answer,
// one second at most; then this node ceases to. It is called once, while Run runs.
func (l *Loop) Depart() (wait func()) {
	f := &farewell{done: make(chan struct{})}
	timer := time.NewTimer(longestHandover)
	select {
	case l.departures <- func() { l.depart(f) }:
	case <-timer.C:
	}
	return func() {
		timer.Reset(longestHandover)
		defer timer.Stop()
		select {
		case <-f.done:
			l.Log.Info("others answer for all that was announced here")
		case <-timer.C:
			l.Log.Warn("others have not said that they answer")
		}
		timer.Reset(longestHandover)
		select {
		case l.departures <- l.cease:
		case <-timer.C:
		}
	}
}

// depart finds out who will answer for what this node announces.
func (l *Loop) depart(f *farewell) {
	l.handovers.farewell, l.handovers.departing = f, true
	if l.Contests != nil {
		l.Contests.Leave()
	}
	f.heirs = l.ownership.Heirs(l.Node)
	l.progress()
}

// reviseHeirs finds out anew who will answer, if one of those has gone that would have: all
// speakers may be going.
func (l *Loop) reviseHeirs() {
	f := l.handovers.farewell
	if f == nil || l.members == nil {
		return
	}
	for heir := range f.heirs {
		if _, ok := l.members[heir]; !ok {
			f.heirs = l.ownership.Heirs(l.Node)
			l.progress()
			return
		}
	}
}

// cease ends the handover: this node does not answer any more for what others have. What
// nobody else is to have it answers for until the process ends.
func (l *Loop) cease() {
	for a, rec := range l.reporter.records {
		if rec.announced && l.ownership.Bequest(a, l.sharers(a)).Owner != "" {
			l.Layer2.Withdraw(a)
		}
	}
	for a := range l.handovers.leaving {
		l.complete(a)
	}
}

// progress ends a farewell that nobody is missing at.
func (l *Loop) progress() {
	if f := l.handovers.farewell; f != nil && len(f.heirs) == 0 {
		close(f.done)
		l.handovers.farewell = nil
	}
}
