// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// reserve replaces the reservations for a random Service.
func (w *world) reserve() {
	name := w.randomName()
	reservations := w.randomReservations(name)
	w.trace = append(w.trace, fmt.Sprintf("Reserve %s", name))
	for _, r := range reservations {
		w.trace = append(w.trace, fmt.Sprintf("    %+v %v", *r.Reservation, r.NamespaceLabels))
	}
	w.reserveAs(name, reservations)
}

func (w *world) reserveAs(name lb.ServiceName, reservations []ipam.Reservation) {
	w.reserved[name] = reservations
	if len(reservations) == 0 {
		delete(w.reserved, name)
	}
	w.steady(func() {
		w.note(w.sut.Reserve(name, reservations))
		w.oracle.reserve(name, reservations)
	})
	if again := w.sut.Reserve(name, reservations); again != nil {
		w.fail("the same reservations for %s again make a difference: %v", name, again)
	}
}

func (w *world) randomReservations(name lb.ServiceName) []ipam.Reservation {
	c := w.choose
	var all []ipam.Reservation
	for i := range pick(c, 0, 1, 1, 1, 2) {
		r := lb.Reservation{
			Name:       lb.ReservationName{Namespace: name.Namespace, Name: fmt.Sprintf("%s-%d", name.Name, i)},
			Created:    time.Unix(int64(c(3)), 0),
			Service:    name,
			Addresses:  pick(c, []netip.Addr{v4(c(14))}, []netip.Addr{v6(c(10))}, []netip.Addr{v4(c(14)), v6(c(10))}, []netip.Addr{v6(c(10)), v4(c(14))}),
			SharingKey: pick(c, "", "", "k1", "k2"),
		}
		all = append(all, ipam.Reservation{Reservation: &r, NamespaceLabels: labels.Set{"env": pick(c, "test", "live")}})
	}
	// What somebody has is worth keeping.
	if has := w.mirror[name].Addresses; len(has) > 0 && len(all) > 0 && c(2) == 1 {
		all[0].Addresses = has
	}
	return all
}

// reserveAgain has a new Allocator know the reservations, in another order.
func (w *world) reserveAgain() {
	for name, reservations := range w.reserved {
		w.note(w.sut.Reserve(name, slices.Clone(reservations)))
	}
	for name, reservations := range w.reserved {
		w.oracle.reserve(name, reservations)
	}
}

// checkStandings holds what is said about reservations against the oracle: also what
// has not changed, and therefore is not said again.
func (w *world) checkStandings() {
	for _, s := range w.sut.Standings() {
		w.standings[s.Name] = s
		if s.Message == "" {
			w.fail("%s stands as %+v without a message", s.Name, s)
		}
	}
	present := map[lb.ReservationName]bool{}
	for _, r := range w.oracle.reservations {
		present[r.Name] = true
		got := w.standings[r.Name]
		reason, bound, held := w.oracle.stands(r)
		if got.Reason != reason || got.Bound != bound || got.Held != held || got.Service != r.Service {
			w.fail("reservation %s of %v stands as %+v, want %s, bound %t, held %t", r.Name, r.Addresses, got, reason, bound, held)
		}
	}
	maps.DeleteFunc(w.standings, func(name lb.ReservationName, _ ipam.Standing) bool { return !present[name] })
	w.checkKept()
}

// checkKept does not ask the oracle for whom addresses are kept: nobody may have been
// given one in this step that the oldest reservation keeps for another, if a pool would
// serve that one and sharing is out of the question.
func (w *world) checkKept() {
	for _, o := range w.latest {
		if o.Reason == lb.ReasonOtherClass {
			continue // others do not ask us
		}
		for _, a := range o.Addresses {
			able := w.oracle.able(a)
			if slices.Contains(o.Previous, a) || len(able) == 0 || able[0].SharingKey != "" {
				continue
			}
			owner := able[0].Service
			if owner != o.Service && !slices.Contains(w.mirror[owner].Addresses, a) && !w.left(owner, a) {
				w.fail("%s is given to %s, though it is kept for %s", a, o.Service, owner)
			}
		}
	}
	w.latest = nil
}

// left reports whether a Service has given up an address in this step.
func (w *world) left(name lb.ServiceName, a netip.Addr) bool {
	return slices.ContainsFunc(w.latest, func(o ipam.Outcome) bool {
		return o.Service == name && slices.Contains(o.Previous, a)
	})
}
