// SPDX-License-Identifier: Apache-2.0

package whatif

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Report is what an edit of the configuration would do.
type Report struct {
	// Changes has every Service, also those that keep what they have, sorted by
	// namespace and name.
	Changes []Change
	// Unsettled are the Services whose status differs from what the configuration
	// gives them as it is, without the edit: the controller does not run, or has not
	// written it yet. Changes begin with what it would write.
	Unsettled []Change
	// Rejected are the objects that would not be accepted in full, sorted by kind and
	// name.
	Rejected []Rejection
}

// Change is what would become of one Service.
type Change struct {
	Service lb.ServiceName
	Effect  Effect
	// From and To are the addresses before and after, in the order of the status.
	// FromPool and ToPool are where the first of them come from. Empty: none.
	From, To         []netip.Addr
	FromPool, ToPool string
	// Interrupted are those of To that the Service would lose and get again, because
	// the edit is not made all at once.
	Interrupted []netip.Addr
	// Reason is lb.ReasonAllocated if the Service has all that it claims afterwards,
	// and else why not, and Message explains it.
	Reason  lb.Reason
	Message string
	// Cause says why an address goes away. Empty unless Effect disrupts.
	Cause string
}

// Why returns the reasons for a change as one line: why an address goes away, then why
// there is not all that is claimed.
func (c Change) Why() string {
	switch {
	case c.Cause == "" || c.Cause == c.Message:
		return c.Message
	case c.Message == "":
		return c.Cause
	}
	return c.Cause + "; " + c.Message
}

// Effect is what kind of change it is.
type Effect uint8

// Effects of an edit on a Service.
const (
	// Keep: the Service has addresses, and they stay.
	Keep Effect = iota
	// Wait: the Service has no address, before and after.
	Wait
	// Gain: the Service gets an address and loses none.
	Gain
	// Move: the Service loses an address and gets another, or the same again.
	Move
	// Lose: the Service loses an address and gets none for it.
	Lose
)

// Effects returns all effects, the gravest last.
func Effects() []Effect { return []Effect{Keep, Wait, Gain, Move, Lose} }

// String returns the effect as a verb, in lower case.
func (e Effect) String() string {
	switch e {
	case Keep:
		return "keep"
	case Wait:
		return "wait"
	case Gain:
		return "gain"
	case Move:
		return "move"
	case Lose:
		return "lose"
	}
	return "unknown"
}

// Disrupts reports whether clients would lose an address.
func (e Effect) Disrupts() bool { return e == Move || e == Lose }

// Rejection is an object of the configuration that would not be accepted in full: what
// its condition Accepted would say.
type Rejection struct {
	Object  lb.Object
	Reason  lb.Reason
	Message string
	// Unusable reports that the whole object would be left out.
	Unusable bool
	// Already reports that it is said of the object now, without the edit.
	Already bool
}

// Count returns the number of changes with each effect.
func (r Report) Count() map[Effect]int {
	counts := make(map[Effect]int, len(Effects()))
	for _, c := range r.Changes {
		counts[c.Effect]++
	}
	return counts
}

// Disrupts reports whether a Service would lose an address that it has.
func (r Report) Disrupts() bool {
	for _, c := range r.Changes {
		if c.Effect.Disrupts() {
			return true
		}
	}
	return false
}
