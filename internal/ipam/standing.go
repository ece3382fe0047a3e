// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/lb"
)

// Standing is what has become of a reservation.
type Standing struct {
	Name lb.ReservationName
	// Service is who the addresses are reserved for.
	Service lb.ServiceName
	// Bound reports that the Service has all addresses of the reservation, Held that
	// at least one is kept for it or is its own.
	Bound, Held bool
	// Reason is lb.ReasonAccepted if the Service has, or could have, every address of
	// the reservation, and no other Service can get one; else why not.
	Reason lb.Reason
	// Message explains Reason to the reservation's author.
	Message string
}

// Standings returns how those reservations stand for which that may have changed since
// the last call, by name. What has been ended is not among them.
func (a *Allocator) Standings() []Standing {
	if len(a.bookings.stirred) == 0 {
		return nil
	}
	all := make([]Standing, 0, len(a.bookings.stirred))
	for name, service := range a.bookings.stirred {
		for _, r := range a.bookings.byService[service] {
			if r.Name == name {
				all = append(all, a.standing(r))
			}
		}
	}
	clear(a.bookings.stirred)
	slices.SortFunc(all, func(x, y Standing) int { return strings.Compare(x.Name.String(), y.Name.String()) })
	return all
}

// Reserved returns the Services that addresses are reserved for, in no defined order.
func (a *Allocator) Reserved() []lb.ServiceName {
	return slices.Collect(maps.Keys(a.bookings.byService))
}

func (a *Allocator) standing(r Reservation) Standing {
	st := Standing{Name: r.Name, Service: r.Service, Bound: true, Reason: lb.ReasonAccepted}
	owner := a.claimants[r.Service]
	var kept []netip.Addr
	var objections []string
	for _, addr := range r.Addresses {
		if owner == nil || !owner.holds(addr) {
			st.Bound = false
		}
		if refused := a.unkept(r, addr, owner); refused != nil {
			if len(objections) == 0 {
				st.Reason = refused.reason
			}
			objections = append(objections, refused.message)
			continue
		}
		st.Held = true
		kept = append(kept, addr)
	}
	switch {
	case len(objections) > 0:
		st.Message = strings.Join(objections, "; ")
	case st.Bound:
		st.Message = fmt.Sprintf("Service %s has %s", r.Service, joinAddresses(kept))
	default:
		st.Message = fmt.Sprintf("%s kept for Service %s", joinAddresses(kept), r.Service)
		if owner != nil && len(owner.grants) > 0 {
			st.Message += fmt.Sprintf(", which keeps %s as long as it does not ask for another address", joinAddresses(owner.addresses()))
		}
	}
	return st
}

// unkept returns why an address is not kept for the reservation's Service. Nil: it is.
func (a *Allocator) unkept(r Reservation, addr netip.Addr, owner *claimant) *refusal {
	b := a.bookings.byAddr[addr]
	first, _ := b.prevailing()
	switch {
	case b.grant.pool == nil:
		return &refusal{lb.ReasonOutsidePools, fmt.Sprintf("no usable pool contains %s", addr)}
	case !b.admitsNamespace(r):
		return &refusal{lb.ReasonNotAllowed, fmt.Sprintf("%s is in pool %s, whose serviceAllocation does not admit the Service: %s",
			addr, b.grant.pool.Name, b.grant.pool.Exclusion(r.Name.Namespace, r.NamespaceLabels, nil))}
	case !b.keptFor(r.Service):
		return &refusal{lb.ReasonConflict, fmt.Sprintf("%s is kept for Service %s by the older AddressReservation %s", addr, first.Service, first.Name)}
	}
	t, inUse := a.tenancies[addr]
	if !inUse || owner != nil && owner.holds(addr) {
		return nil
	}
	for _, h := range t.holders {
		s := h.claim.Service
		if !b.keptFor(s.Name) && (r.SharingKey == "" || r.SharingKey != s.SharingKey) {
			return &refusal{lb.ReasonAddressInUse, fmt.Sprintf("%s is in use by Service %s, which keeps it until it is deleted or asks for another", addr, s.Name)}
		}
	}
	return nil
}
