// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// Reservation is what keeps addresses for a Service, whether it has a claim or not.
type Reservation struct {
	// Reservation is the wish. It must not be modified afterwards.
	*lb.Reservation
	// NamespaceLabels are those of its namespace. Nil: it has none.
	NamespaceLabels labels.Set
	// AnyNamespace has it count whatever namespaces a pool admits: it is not made for
	// anybody's advantage.
	AnyNamespace bool
}

// Reserve makes these the reservations for the Service, in place of those there were;
// an empty list ends them. Which are in force does not depend on the order of calls: of
// several for one address the oldest prevails, and with it those of the same sharing
// key, if a pool contains the address and admits their namespace.
//
// An address that is reserved goes to no Service but those it is reserved for, with one
// exception: who may share it with all of them while they have it. No Service loses an
// address over a reservation, and none has to have what is reserved for it: a Service
// that has an address keeps it, and one that asks for another gets that.
//
// The outcomes are those of Services for which this makes a difference.
func (a *Allocator) Reserve(service lb.ServiceName, reservations []Reservation) []Outcome {
	reservations = slices.Clone(reservations)
	slices.SortFunc(reservations, byReservationAge)
	if sameReservations(a.bookings.byService[service], reservations) {
		return nil
	}
	touched := a.bookings.replace(service, reservations)
	st := newStep(a, nil)
	for _, addr := range slices.SortedFunc(maps.Keys(touched), netip.Addr.Compare) {
		st.rebook(a.bookings.byAddr[addr])
	}
	st.serveWaiting()
	return st.outcomes()
}

func sameReservations(a, b []Reservation) bool {
	return slices.EqualFunc(a, b, func(x, y Reservation) bool {
		return reflect.DeepEqual(x.Reservation, y.Reservation) && x.AnyNamespace == y.AnyNamespace && maps.Equal(x.NamespaceLabels, y.NamespaceLabels)
	})
}

// bookings are all reservations, and what follows from them for each address.
type bookings struct {
	byService map[lb.ServiceName][]Reservation
	byAddr    map[netip.Addr]*booking
	// stirred are the reservations whose standing may have changed.
	stirred map[lb.ReservationName]lb.ServiceName
}

func newBookings() *bookings {
	return &bookings{
		byService: map[lb.ServiceName][]Reservation{},
		byAddr:    map[netip.Addr]*booking{},
		stirred:   map[lb.ReservationName]lb.ServiceName{},
	}
}

// booking is what is reserved of one address.
type booking struct {
	grant grant // without a pool: none contains the address
	// all are the reservations of the address, the oldest first.
	all []Reservation
	// owners are the Services for which it is reserved: those of the reservations that
	// are in force. Empty: the address is free for all.
	owners []lb.ServiceName
	// withheld reports that the address is in use by nobody and not free either.
	withheld bool
}

func (b *booking) keptFor(name lb.ServiceName) bool { return slices.Contains(b.owners, name) }

// replace exchanges the reservations for a Service and returns their addresses. Those
// that are to be are sorted by age.
func (bs *bookings) replace(service lb.ServiceName, now []Reservation) map[netip.Addr]struct{} {
	touched := map[netip.Addr]struct{}{}
	for _, r := range bs.byService[service] {
		// One made anew under its name, for another Service, may be known already.
		if bs.stirred[r.Name] == service {
			delete(bs.stirred, r.Name)
		}
		for _, addr := range r.Addresses {
			touched[addr] = struct{}{}
			b := bs.byAddr[addr]
			b.all = slices.DeleteFunc(b.all, func(x Reservation) bool { return x.Name == r.Name && x.Service == service })
		}
	}
	delete(bs.byService, service)
	if len(now) == 0 {
		return touched
	}
	bs.byService[service] = now
	for _, r := range now {
		bs.stirred[r.Name] = service
		for _, addr := range r.Addresses {
			touched[addr] = struct{}{}
			if bs.byAddr[addr] == nil {
				bs.byAddr[addr] = &booking{grant: grant{addr: addr}}
			}
			bs.byAddr[addr].add(r)
		}
	}
	return touched
}

func (b *booking) add(r Reservation) {
	i, _ := slices.BinarySearchFunc(b.all, r, byReservationAge)
	b.all = slices.Insert(b.all, i, r)
}

func byReservationAge(x, y Reservation) int {
	return lb.CompareReservations(x.Reservation, y.Reservation)
}

// stir notes that the standing of reservations may have changed: those of an address,
// and those for a Service that got or lost it, or has another claim.
func (bs *bookings) stir(addr netip.Addr, name lb.ServiceName) {
	if b, ok := bs.byAddr[addr]; ok {
		for _, r := range b.all {
			bs.stirred[r.Name] = r.Service
		}
	}
	for _, r := range bs.byService[name] {
		bs.stirred[r.Name] = name
	}
}

// closed reports whether nobody may join those who have the address: it is reserved for
// a Service that has not got it and could find its ports taken.
func (bs *bookings) closed(addr netip.Addr, holders []*claimant) bool {
	b, ok := bs.byAddr[addr]
	return ok && b.absent(holders) != nil
}

// absent returns the first of the owners that is not among the holders, or nil.
func (b *booking) absent(holders []*claimant) *lb.ServiceName {
	for i, owner := range b.owners {
		if !slices.ContainsFunc(holders, func(h *claimant) bool { return h.name() == owner }) {
			return &b.owners[i]
		}
	}
	return nil
}

// admitsNamespace reports whether the pool of b may serve the namespace of r. Services
// that the pool selects by label may be made there, and nothing more can be known.
func (b *booking) admitsNamespace(r Reservation) bool {
	return b.grant.pool != nil && (r.AnyNamespace || b.grant.pool.AdmitsNamespace(r.Name.Namespace, r.NamespaceLabels))
}

// prevailing returns the oldest reservation that can be in force, if there is one.
func (b *booking) prevailing() (Reservation, bool) {
	for _, r := range b.all {
		if b.admitsNamespace(r) {
			return r, true
		}
	}
	return Reservation{}, false
}

// accords reports whether two reservations of one address stand side by side.
func accords(x, y Reservation) bool {
	return x.Service == y.Service || x.SharingKey != "" && x.SharingKey == y.SharingKey
}

// locate finds out for whom the address is reserved, with the pools as they are.
func (b *booking) locate(atlas *atlas) {
	g, ok := atlas.find(b.grant.addr)
	if !ok {
		g = grant{addr: b.grant.addr}
	}
	b.grant, b.owners = g, nil
	first, ok := b.prevailing()
	if !ok {
		return
	}
	for _, r := range b.all {
		if accords(first, r) && b.admitsNamespace(r) && !b.keptFor(r.Service) {
			b.owners = append(b.owners, r.Service)
		}
	}
}

// withhold takes the address of b, which nobody has, out of the free space.
func (b *booking) withhold() {
	s := b.grant.pool.stock(lb.FamilyOf(b.grant.addr))
	s.take(b.grant.position())
	s.reserved++
	b.withheld = true
}

// relocate puts the bookings into new pools, in which nothing is in use yet.
func (bs *bookings) relocate(atlas *atlas) {
	for _, b := range bs.byAddr {
		b.withheld = false
		b.locate(atlas)
		if len(b.owners) > 0 {
			b.withhold()
		}
		for _, r := range b.all {
			bs.stirred[r.Name] = r.Service
		}
	}
}

// rebook makes what has changed about the reservations of an address come true.
func (st *step) rebook(b *booking) {
	a, addr := st.a, b.grant.addr
	concerned := b.owners
	b.locate(a.atlas)
	t, inUse := a.tenancies[addr]
	switch {
	case inUse:
		t.closed = a.bookings.closed(addr, t.holders)
		t.regroup()
	case len(b.owners) > 0 && !b.withheld:
		b.withhold()
	case len(b.owners) == 0 && b.withheld:
		st.free(b)
	}
	for _, r := range b.all {
		a.bookings.stirred[r.Name] = r.Service
	}
	if len(b.all) == 0 {
		delete(a.bookings.byAddr, addr)
	}
	st.announce(b.grant)
	for _, name := range slices.Concat(concerned, b.owners) {
		if c, ok := a.claimants[name]; ok && c.unmet() {
			st.candidates.ReplaceOrInsert(candidate{c, nil})
		}
	}
}

// free returns the address of b, which was withheld in the same place, to all.
func (st *step) free(b *booking) {
	// The pools have not changed since it was withheld, so it still lies where it did.
	g, _ := st.a.atlas.find(b.grant.addr)
	s := g.pool.stock(lb.FamilyOf(g.addr))
	s.reserved--
	s.release(g.position())
	b.withheld = false
	st.consider(st.a.waiting.byNeed[need{g.pool.Name, lb.FamilyOf(g.addr)}])
}

// reservedFor returns the addresses that are reserved for c and that it could have now,
// in the order of its reservations: those of the families it wants, from the pool it
// names if it names one.
func (a *Allocator) reservedFor(c *claimant) []grant {
	var found []grant
	for _, r := range a.bookings.byService[c.name()] {
		for _, addr := range r.Addresses {
			b := a.bookings.byAddr[addr]
			if b.keptFor(c.name()) && c.wants(b.grant) && a.objection(c, b.grant) == nil {
				found = append(found, b.grant)
			}
		}
	}
	return found
}

// wants reports whether c has a use for an address there.
func (c *claimant) wants(g grant) bool {
	named := c.claim.Service.Pool
	return slices.Contains(c.families(), lb.FamilyOf(g.addr)) && (named == "" || named == g.pool.Name)
}

// reclaim gives c what is reserved for it: two addresses if it wants two and may have
// them together, or else one and with it, where there is one, another that is not
// reserved. Nil: there is nothing that would do.
func (a *Allocator) reclaim(c *claimant, pairOnly bool) []grant {
	back := a.reservedFor(c)
	if len(c.families()) == 2 {
		for i, x := range back {
			for _, y := range back[i+1:] {
				if lb.FamilyOf(x.addr) != lb.FamilyOf(y.addr) && (x.pool == y.pool || c.mixes()) {
					return []grant{x, y}
				}
			}
		}
		for _, g := range back {
			if pair, _ := a.join(c, g); pair != nil {
				return pair
			}
		}
	}
	if len(back) == 0 || pairOnly {
		return nil
	}
	return back[:1]
}

// reservedIn returns the first of the pool's addresses of a family that are reserved for
// c and that it could have now.
func (a *Allocator) reservedIn(c *claimant, p *pool, f lb.Family) (grant, bool) {
	for _, g := range a.reservedFor(c) {
		if g.pool == p && lb.FamilyOf(g.addr) == f {
			return g, true
		}
	}
	return grant{}, false
}

// withheldFrom returns why a reservation keeps c from an address that it asks for. Nil:
// none does.
func (a *Allocator) withheldFrom(c *claimant, addr netip.Addr) *refusal {
	b, ok := a.bookings.byAddr[addr]
	if !ok || b.keptFor(c.name()) {
		return nil
	}
	var holders []*claimant
	if t, ok := a.tenancies[addr]; ok {
		holders = t.holders
	}
	owner := b.absent(holders)
	if owner == nil {
		return nil
	}
	i := slices.IndexFunc(b.all, func(r Reservation) bool { return r.Service == *owner })
	return &refusal{lb.ReasonReserved, fmt.Sprintf("the requested address %s is kept for Service %s by AddressReservation %s", addr, *owner, b.all[i].Name)}
}

// besides adds to what c waits for what is reserved for it: no other Service waits for
// the same, so it stands in a line of its own.
func (a *Allocator) besides(c *claimant, w wait) wait {
	reserved := a.bookings.byService[c.name()]
	if len(reserved) == 0 || len(c.claim.Service.Requested) > 0 {
		return w
	}
	w.line += "|for " + c.name().String()
	w.key = c.claim.Service.SharingKey
	w.addrs, w.needs = slices.Clone(w.addrs), slices.Clone(w.needs)
	for _, r := range reserved {
		for _, addr := range r.Addresses {
			if !slices.Contains(w.addrs, addr) {
				w.addrs = append(w.addrs, addr)
			}
			p := a.bookings.byAddr[addr].grant.pool
			if p == nil {
				continue
			}
			for _, f := range c.families() {
				w.needs = append(w.needs, need{p.Name, f})
			}
		}
	}
	return w
}
