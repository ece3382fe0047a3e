// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// sample is how many addresses stand for all that a node would leave to this one: one of
// them may have an owner who could not announce it.
const sample = 3

// Inheritance returns some of the addresses that a node owns and that would be this one's
// if its speaker were gone, as this node would announce them. It is false if the loop
// does not decide yet, or not before ctx ends.
func (l *Loop) Inheritance(ctx context.Context, from lb.NodeName) ([]layer2.Announcement, bool) {
	return consult(ctx, l, func() []layer2.Announcement { return l.inheritance(from) })
}

// consult has the loop's goroutine answer a question, by what was decided last. It is
// false if the loop does not decide yet, or not before ctx ends.
func consult[T any](ctx context.Context, l *Loop, question func() T) (answer T, ok bool) {
	reply := make(chan T, 1) // nobody may be there to hear it
	select {
	case l.inquiries <- func() { reply <- question() }:
	case <-ctx.Done():
		return answer, false
	}
	select {
	case answer = <-reply:
		return answer, true
	case <-ctx.Done():
		return answer, false
	}
}

func (l *Loop) inheritance(from lb.NodeName) []layer2.Announcement {
	var found []layer2.Announcement
	for a, rec := range l.reporter.records {
		if len(found) == sample {
			break
		}
		if !rec.isOf(from) {
			continue
		}
		if v := l.ownership.Bequest(a, l.sharers(a)); v.Announce {
			found = append(found, layer2.Announcement{Address: a, Interfaces: v.Interfaces})
		}
	}
	return found
}

// isOf says whether a node was elected for the address.
func (r *record) isOf(node lb.NodeName) bool { return node != "" && r.owner() == node }

// owner returns the node that was elected for the address; empty if none was.
func (r *record) owner() lb.NodeName {
	for _, o := range r.outcomes {
		if o.owner != "" {
			return o.owner
		}
	}
	return ""
}
