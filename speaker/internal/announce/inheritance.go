// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// sample is how many addresses stand for all that a node would leave to this one: one of
// them may have an owner who could not announce it.
const sample = 3

// inquiry asks the loop what this node would inherit.
type inquiry struct {
	from  lb.NodeName
	reply chan []layer2.Announcement // capacity 1
}

// Inheritance returns some of the addresses that a node owns and that would be this one's
// if its speaker were gone, as this node would announce them. It is false if the loop
// does not decide yet, or not before ctx ends.
func (l *Loop) Inheritance(ctx context.Context, from lb.NodeName) ([]layer2.Announcement, bool) {
	q := inquiry{from, make(chan []layer2.Announcement, 1)}
	select {
	case l.inquiries <- q:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case found := <-q.reply:
		return found, true
	case <-ctx.Done():
		return nil, false
	}
}

// inherit answers an inquiry, by what was decided last.
func (l *Loop) inherit(q inquiry) {
	var view *plan.View
	var found []layer2.Announcement
	for a, rec := range l.reporter.records {
		if len(found) == sample {
			break
		}
		if !rec.isOf(q.from) {
			continue
		}
		sharers := l.Inventory.sharers(a)
		v, ok := l.ownership.Bequest(a, sharers)
		if !ok { // all other candidates are second best: they are found without the best
			if view == nil {
				view = l.viewWithout(q.from)
			}
			v = view.Decide(a, sharers)
		}
		if v.Announce {
			found = append(found, layer2.Announcement{Address: a, Interfaces: v.Interfaces})
		}
	}
	q.reply <- found
}

// isOf says whether a node was elected for the address.
func (r *record) isOf(node lb.NodeName) bool {
	for _, o := range r.outcomes {
		if o.owner == node {
			return true
		}
	}
	return false
}

// viewWithout is the view there would be if a node's speaker were gone.
func (l *Loop) viewWithout(node lb.NodeName) *plan.View {
	in := l.input()
	delete(in.Members, node)
	return plan.NewView(in)
}
