// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"net/netip"
	"time"
)

// ReservationName names an AddressReservation in the cluster. It is comparable.
type ReservationName struct {
	Namespace, Name string
}

// String returns "namespace/name".
func (n ReservationName) String() string { return n.Namespace + "/" + n.Name }

// Reservation is an AddressReservation: addresses that are kept for a Service, whether
// it exists or not.
type Reservation struct {
	Name    ReservationName
	UID     string
	Created time.Time
	// Service is who the addresses are kept for.
	Service ServiceName
	// Addresses are what is kept: one, or one of each family.
	Addresses []netip.Addr
	// SharingKey is that of the Service. Empty: the addresses are for it alone.
	SharingKey string
	// TTL is how long they are kept while the Service is not there. Zero: for ever.
	TTL time.Duration
	// ReleasedAt is since when, by the object's status, the Service is not there. Zero:
	// it is, or nobody has looked yet.
	ReleasedAt time.Time
	// FromAnnotation reports that the controller made the object because the Service
	// asks for it, and keeps it in step with the Service.
	FromAnnotation bool
	// ContestedBy is the hardware address of a station outside the cluster that has the
	// addresses, in the words of its label; then they are kept for nobody. Empty: there is
	// none.
	ContestedBy string
}

// ExpiresAt returns when the addresses are free for others, if the Service is not there
// since released. It reports false if that is never.
func (r *Reservation) ExpiresAt(released time.Time) (time.Time, bool) {
	if r.TTL == 0 || released.IsZero() {
		return time.Time{}, false
	}
	return released.Add(r.TTL), true
}

// Expired reports whether at that time the addresses are free for others, if the Service
// is not there since released.
func (r *Reservation) Expired(released, now time.Time) bool {
	end, ok := r.ExpiresAt(released)
	return ok && !now.Before(end)
}

// CompareReservations orders reservations by creation, the oldest first: it prevails where
// two want one address. Of those created in the same second the name decides.
func CompareReservations(a, b *Reservation) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
}

// ReserveWish is the annotation herald-lb.io/reserve: whether the addresses that the
// Service is given are to be kept for it. The zero value is no.
type ReserveWish struct {
	Wanted bool
	// TTL is how long after the Service is deleted. Zero: for ever.
	TTL time.Duration
}
