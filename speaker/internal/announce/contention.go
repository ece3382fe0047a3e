// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// contend makes a verdict one that minds other stations: it may leave the address to
// them. It is false if there is no verdict yet, because the LAN is being asked.
func (l *Loop) contend(a netip.Addr, v *plan.Verdict, announcing bool) bool {
	switch {
	case l.Contests == nil:
		return true
	case !v.Announce:
		l.Contests.Drop(a)
		return true
	case l.Contests.Yields(a):
		leaveTo(v)
		return true
	case announcing:
		return true
	case !l.ready.Load() || l.reporter.hadOwner(a):
		// Taken over, or known from before this process: nobody is to wait, and who had
		// it may answer for a moment.
		l.Contests.Drop(a)
		return true
	}
	return l.Contests.Clear(layer2.Announcement{Address: a, Interfaces: v.Interfaces})
}

// unsettle has contests judged later, because addresses move: speakers have come or gone, or
// have missed this one.
func (l *Loop) unsettle() {
	if l.Contests != nil {
		l.Contests.Unsettle()
	}
}

// leaveTo makes a verdict one that leaves the address to the station that has it.
func leaveTo(v *plan.Verdict) {
	v.Announce = false
	v.Decisions = slices.Clone(v.Decisions)
	for i := range v.Decisions {
		if v.Decisions[i].Reason == lb.ReasonAnnounced {
			v.Decisions[i].Reason = lb.ReasonContested
		}
	}
}

// announcedWithin is how long after its election an owner may not announce yet: it asks
// the LAN first, and may have been told later than this node.
const announcedWithin = time.Second

// hadOwner says whether a node was elected to announce the address until now, long enough
// ago for it to have done so. Who has been elected a moment ago may have lost it again, to
// an older Service say, without having asked who else has it.
func (r *reporter) hadOwner(a netip.Addr) bool {
	rec := r.records[a]
	return rec.owner() != "" && time.Since(time.UnixMilli(rec.elected)) > announcedWithin
}
