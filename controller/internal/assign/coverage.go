// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// ConditionAnnounced is the type of the condition on Services that have an address which
// no node can announce, because no advertisement covers it. It is False or missing: what
// else may be in the way depends on nodes, and speakers tell it (ADR 0019).
const ConditionAnnounced = "metallb.io/Announced"

// cover takes notice of what the configuration has announced. It reports whether that is
// something else than before.
func (d *decider) cover(now *lb.Coverage) bool {
	if reflect.DeepEqual(d.coverage, now) {
		return false
	}
	d.coverage = now
	return true
}

// reviewAll has every Service looked at again.
func (d *decider) reviewAll() {
	for name, k := range d.known {
		if k.reason != lb.ReasonOtherClass {
			d.queue.Add(key(name))
		}
	}
}

// gap returns why an outcome's addresses are announced by no node whatsoever, and the
// condition that says so. Before all of the configuration is known nothing is said that
// was not said before.
func (d *decider) gap(o ipam.Outcome, seen sighting) (lb.Reason, condition) {
	if d.coverage == nil {
		return lb.ReasonAnnounced, seen.observed.announced
	}
	reason, message := d.coverage.Gap(seen.claim.Service.Labels, o.Addresses, o.Pool)
	if reason == lb.ReasonAnnounced {
		return reason, condition{}
	}
	return reason, condition{status: metav1.ConditionFalse, reason: reason.String(), message: message}
}
