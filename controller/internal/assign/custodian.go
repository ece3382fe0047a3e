// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// ConditionContested is the type of the condition on Services that have an address which
// a station outside the cluster has, too, as speakers have found. It is True or missing.
const ConditionContested = "herald-lb.io/Contested"

// reservations are the AddressReservations as the informer knows them, and the labels of
// their namespaces. They must not be modified.
type reservations interface {
	allReservations() []*v1alpha1.AddressReservation
	reservationsIn(namespace string) []*v1alpha1.AddressReservation
	reservationsFor(lb.ServiceName) []*v1alpha1.AddressReservation
	namespaceLabels(name string) labels.Set
}

// custodian has ipam keep what reservations say, as long as they last, and has their
// objects written: the status of all, and all of those that Services ask for. It belongs
// to the decider's goroutine, and to its term: what must outlast that is in the objects.
type custodian struct {
	objects reservations
	ipam    *ipam.Allocator
	// file has something written, again has a Service looked at again later.
	file  func(filing)
	again func(lb.ServiceName, time.Duration)

	deeds map[lb.ReservationName]*deed
	// wishes are the addresses that Services ask for by name, and contested for whom
	// those are kept that stations outside the cluster have: for nobody.
	wishes    map[lb.ServiceName][]netip.Addr
	contested map[netip.Addr]lb.ReservationName
	// recast are the addresses about which something else is to be said in that regard.
	recast map[netip.Addr]struct{}
	named  map[lb.ServiceName][]lb.ReservationName
	// restless are those whose status may have changed.
	restless map[lb.ReservationName]struct{}
	// states count the reservations. changed reports that they have changed since then.
	states  map[v1alpha1.ReservationState]int
	changed bool
}

// deed is one reservation.
type deed struct {
	lb.Reservation
	generation int64
	problems   []lb.Problem
	// released is since when the Service is not there. Zero: it is.
	released time.Time
	expired  bool
	// wisher asks by name for an address that is contested: then it is not kept from
	// anybody.
	wisher   *lb.ServiceName
	standing ipam.Standing
	// told is the status that the API server has or will have, as far as it is ours.
	told v1alpha1.AddressReservationStatus
}

func newCustodian(o reservations, a *ipam.Allocator, file func(filing), again func(lb.ServiceName, time.Duration)) *custodian {
	return &custodian{
		objects: o, ipam: a, file: file, again: again,
		deeds:  map[lb.ReservationName]*deed{},
		wishes: map[lb.ServiceName][]netip.Addr{}, contested: map[netip.Addr]lb.ReservationName{}, recast: map[netip.Addr]struct{}{},
		named:    map[lb.ServiceName][]lb.ReservationName{},
		restless: map[lb.ReservationName]struct{}{},
		states:   map[v1alpha1.ReservationState]int{},
	}
}

// takeOver has ipam keep what all reservations say, before anything is given. present
// says which Services are there.
func (c *custodian) takeOver(present func(lb.ServiceName) bool) {
	seen := map[lb.ServiceName]struct{}{}
	for _, o := range c.objects.allReservations() {
		name := lb.ServiceName{Namespace: o.Namespace, Name: o.Spec.ServiceName}
		if _, ok := seen[name]; !ok {
			seen[name] = struct{}{}
			c.look(name, present(name))
		}
	}
}

// look brings the reservations for one Service up to date: whether they last depends on
// whether it is there. The outcomes are ipam's.
func (c *custodian) look(name lb.ServiceName, present bool) []ipam.Outcome {
	objects := c.objects.reservationsFor(name)
	if len(objects) == 0 && len(c.named[name]) == 0 {
		return nil
	}
	var (
		names []lb.ReservationName
		valid []ipam.Reservation
	)
	now := time.Now()
	for _, o := range objects {
		d := c.read(o)
		d.note(present, now)
		names = append(names, d.Name)
		c.restless[d.Name] = struct{}{}
		c.contest(d)
		end, ends := d.ExpiresAt(d.released)
		switch {
		case len(d.Addresses) == 0 || d.expired:
			continue
		case ends:
			c.again(name, end.Sub(now))
		}
		if d.wisher != nil {
			continue
		}
		reservation := d.Reservation
		reservation.ReleasedAt = time.Time{} // makes no difference to ipam
		valid = append(valid, ipam.Reservation{
			Reservation: &reservation, NamespaceLabels: c.objects.namespaceLabels(name.Namespace), AnyNamespace: d.ContestedBy != "",
		})
	}
	for _, gone := range c.named[name] {
		// One made anew under its name may be for another Service.
		if d, ok := c.deeds[gone]; ok && d.Service == name && !slices.Contains(names, gone) {
			c.forget(gone)
		}
	}
	c.named[name] = names
	if len(names) == 0 {
		delete(c.named, name)
	}
	return c.ipam.Reserve(name, valid)
}

// read returns the deed of an object. Since when its Service is not there, the object
// says only to a custodian that has not seen it before: later it may be outdated.
func (c *custodian) read(o *v1alpha1.AddressReservation) *deed {
	r, problems := lb.ParseReservation(o)
	d, ok := c.deeds[r.Name]
	if ok && d.UID != r.UID {
		c.forget(r.Name)
		ok = false
	}
	if !ok {
		d = &deed{released: r.ReleasedAt, told: o.Status}
		c.deeds[r.Name] = d
		c.count(d.told.State, 1)
	}
	if !slices.Equal(d.Addresses, r.Addresses) {
		c.settle(d)
	}
	d.Reservation, d.generation, d.problems = r, o.Generation, problems
	return d
}

// note takes notice of whether the Service is there. The API keeps whole seconds.
func (d *deed) note(present bool, now time.Time) {
	switch {
	case present:
		d.released = time.Time{}
	case d.released.IsZero():
		d.released = now.Truncate(time.Second)
	}
	d.expired = !present && d.Expired(d.released, now)
}

// contest notes who asks for an address of the reservation, if that is contested.
func (c *custodian) contest(d *deed) {
	d.wisher = nil
	if d.ContestedBy == "" || d.expired {
		c.settle(d)
		return
	}
	for _, a := range d.Addresses {
		if c.contested[a] != d.Name {
			c.contested[a] = d.Name
			c.recast[a] = struct{}{}
		}
		for name, wanted := range c.wishes {
			if slices.Contains(wanted, a) && (d.wisher == nil || name.String() < d.wisher.String()) {
				d.wisher = &name
			}
		}
	}
}

// settle notes that the addresses of a reservation are not contested any more.
func (c *custodian) settle(d *deed) {
	for _, a := range d.Addresses {
		if c.contested[a] == d.Name {
			delete(c.contested, a)
			c.recast[a] = struct{}{}
		}
	}
}

// contestOn returns the condition of a Service that has these addresses.
func (c *custodian) contestOn(addresses []netip.Addr) condition {
	var messages []string
	for _, a := range addresses {
		if name, ok := c.contested[a]; ok {
			messages = append(messages, fmt.Sprintf("%s is also used by the station %s", a, c.deeds[name].ContestedBy))
		}
	}
	if len(messages) == 0 {
		return condition{}
	}
	return condition{
		status: metav1.ConditionTrue, reason: lb.ReasonContested.String(),
		message: strings.Join(messages, "; ") + ": find that station, or take the address out of the pool",
	}
}

// takeRecast returns the Services about whose addresses something else is to be said.
func (c *custodian) takeRecast() []lb.ServiceName {
	var names []lb.ServiceName
	for a := range c.recast {
		names = append(names, c.ipam.Holders(a)...)
	}
	clear(c.recast)
	return names
}

// wish takes notice of the addresses that a Service asks for by name, nil for none: they
// are given to it though a station outside the cluster has them, and then to others that
// need not ask. The outcomes are ipam's.
func (c *custodian) wish(name lb.ServiceName, addresses []netip.Addr) []ipam.Outcome {
	old := c.wishes[name]
	if slices.Equal(old, addresses) {
		return nil
	}
	c.wishes[name] = addresses
	if len(addresses) == 0 {
		delete(c.wishes, name)
	}
	kept := map[lb.ServiceName]struct{}{}
	for _, a := range slices.Concat(old, addresses) {
		if record, ok := c.contested[a]; ok {
			kept[c.deeds[record].Service] = struct{}{}
		}
	}
	var outcomes []ipam.Outcome
	for _, nobody := range slices.SortedFunc(maps.Keys(kept), compareServices) {
		outcomes = append(outcomes, c.look(nobody, false)...)
	}
	return outcomes
}

func compareServices(a, b lb.ServiceName) int { return strings.Compare(a.String(), b.String()) }

func (c *custodian) forget(name lb.ReservationName) {
	c.count(c.deeds[name].told.State, -1)
	c.settle(c.deeds[name])
	delete(c.deeds, name)
	delete(c.restless, name)
}

func (c *custodian) count(state v1alpha1.ReservationState, by int) {
	if state != "" {
		c.states[state] += by
		c.changed = true
	}
}

// keep sees to it that there is a reservation of what a Service has if it asks for that,
// and none that was made for that reason if it does not. A Service that cannot be read
// may ask for anything, and what others serve is theirs to keep. A reservation that
// somebody has written for the Service is left alone, and is enough.
func (c *custodian) keep(claim ipam.Claim) {
	service := claim.Service
	var own *deed
	for _, name := range c.named[service.Name] {
		d := c.deeds[name]
		if !d.FromAnnotation {
			return
		}
		own = d
	}
	held := c.ipam.Held(service.Name)
	switch {
	case claim.Invalid != "" || claim.Foreign:
	case !service.Reserve.Wanted && own != nil:
		c.file(filing{name: own.Name, uid: types.UID(own.UID), remove: true})
	case service.Reserve.Wanted && len(held) > 0:
		c.record(service, own, lb.Reservation{
			Service: service.Name, Addresses: held, SharingKey: service.SharingKey, TTL: service.Reserve.TTL,
		})
	}
}

// record has the reservation of a Service made, or made to say what it should.
func (c *custodian) record(service *lb.Service, own *deed, want lb.Reservation) {
	name, uid := lb.ReservationName(service.Name), types.UID("")
	if own != nil {
		same := slices.Equal(own.Addresses, want.Addresses) && own.SharingKey == want.SharingKey && own.TTL == want.TTL
		if same {
			return
		}
		name, uid = own.Name, types.UID(own.UID)
	}
	c.file(filing{name: name, uid: uid, spec: &want})
}

// report has the status of reservations written that has changed, and those deleted that
// have expired and that nobody wrote.
func (c *custodian) report() {
	for _, s := range c.ipam.Standings() {
		if d, ok := c.deeds[s.Name]; ok {
			d.standing = s
			c.restless[s.Name] = struct{}{}
		}
	}
	now := time.Now()
	for name := range c.restless {
		d := c.deeds[name]
		if d.expired && (d.FromAnnotation || d.ContestedBy != "") {
			c.file(filing{name: name, uid: types.UID(d.UID), remove: true})
			continue
		}
		status := d.status(now)
		if sameStatus(d.told, status) {
			continue
		}
		c.count(d.told.State, -1)
		c.count(status.State, 1)
		d.told = status
		c.file(filing{name: name, uid: types.UID(d.UID), status: &status})
	}
	clear(c.restless)
}
