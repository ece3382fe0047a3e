// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// reserve replaces the reservations for a Service and offers everybody what they want.
func (o *oracle) reserve(service lb.ServiceName, reservations []ipam.Reservation) {
	o.reservations = slices.DeleteFunc(o.reservations, func(r ipam.Reservation) bool { return r.Service == service })
	o.reservations = append(o.reservations, reservations...)
	slices.SortFunc(o.reservations, func(a, b ipam.Reservation) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
	})
	o.calm()
}

// able are the reservations of an address that its pool would serve, the oldest first.
func (o *oracle) able(a netip.Addr) []ipam.Reservation {
	var able []ipam.Reservation
	for _, r := range o.reservations {
		if !slices.Contains(r.Addresses, a) {
			continue
		}
		if p := o.poolFor(a, ""); p != nil && p.AdmitsNamespace(r.Name.Namespace, r.NamespaceLabels) {
			able = append(able, r)
		}
	}
	return able
}

// ownersOf are the Services that an address is kept for.
func (o *oracle) ownersOf(a netip.Addr) []lb.ServiceName {
	var owners []lb.ServiceName
	able := o.able(a)
	for _, r := range able {
		if r.Service == able[0].Service || r.SharingKey != "" && r.SharingKey == able[0].SharingKey {
			owners = append(owners, r.Service)
		}
	}
	return owners
}

// barred reports whether a is kept for others than w, of whom one has not got it.
func (o *oracle) barred(w *wisher, a netip.Addr) bool {
	owners := o.ownersOf(a)
	if slices.Contains(owners, w.Service.Name) {
		return false
	}
	for _, owner := range owners {
		if !slices.ContainsFunc(o.holders(a, w), func(h *wisher) bool { return h.Service.Name == owner }) {
			return true
		}
	}
	return false
}

// mine are the addresses kept for w that it could have now, in the order of reservations.
func (o *oracle) mine(w *wisher) []held {
	var mine []held
	for _, r := range o.reservations {
		for _, a := range r.Addresses {
			if r.Service != w.Service.Name || !slices.Contains(o.ownersOf(a), w.Service.Name) {
				continue
			}
			p := o.poolFor(a, "")
			named := w.Service.Pool == "" || w.Service.Pool == p.Name
			if named && admits(p, w) && o.mayHave(w, a) && slices.Contains(wanted(w), lb.FamilyOf(a)) {
				mine = append(mine, held{a, p.Name})
			}
		}
	}
	return mine
}

// back gives w what is kept for it.
func (o *oracle) back(w *wisher, pairOnly bool) []held {
	mine := o.mine(w)
	if len(wanted(w)) == 2 {
		for i, x := range mine {
			for _, y := range mine[i:] {
				if x.addr.Is4() != y.addr.Is4() && (x.pool == y.pool || w.Service.AnyPools) {
					return []held{x, y}
				}
			}
		}
		for _, x := range mine {
			if pair := o.paired(w, x); pair != nil {
				return pair
			}
		}
	}
	if len(mine) > 0 && !pairOnly {
		return mine[:1]
	}
	return nil
}

// stands says how a reservation stands: its reason, and whether all and any of it holds.
func (o *oracle) stands(r ipam.Reservation) (reason lb.Reason, bound, held bool) {
	reason, bound = lb.ReasonAccepted, true
	for _, a := range r.Addresses {
		why := o.standsOn(r, a)
		if reason == lb.ReasonAccepted {
			reason = why
		}
		has := o.has(r.Service, a)
		bound = bound && has
		held = held || why == lb.ReasonAccepted
	}
	return reason, bound, held
}

func (o *oracle) standsOn(r ipam.Reservation, a netip.Addr) lb.Reason {
	p := o.poolFor(a, "")
	switch {
	case p == nil:
		return lb.ReasonOutsidePools
	case !p.AdmitsNamespace(r.Name.Namespace, r.NamespaceLabels):
		return lb.ReasonNotAllowed
	case !slices.Contains(o.ownersOf(a), r.Service):
		return lb.ReasonConflict
	case o.has(r.Service, a):
		return lb.ReasonAccepted
	}
	for _, h := range o.claims {
		s := h.Service
		friend := slices.Contains(o.ownersOf(a), s.Name) || s.SharingKey != "" && s.SharingKey == r.SharingKey
		if o.has(s.Name, a) && !friend {
			return lb.ReasonAddressInUse
		}
	}
	return lb.ReasonAccepted
}

func (o *oracle) has(name lb.ServiceName, a netip.Addr) bool {
	return slices.ContainsFunc(o.claims, func(w *wisher) bool {
		return w.Service.Name == name && slices.ContainsFunc(w.has, func(h held) bool { return h.addr == a })
	})
}
