// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// A reservation that is deleted and made anew for another Service may be told of under
// the new one first.
func TestReservationMadeAnewForAnotherService(t *testing.T) {
	a := ipam.New()
	for _, service := range []string{"old", "new"} {
		name := lb.ServiceName{Namespace: "shop", Name: service}
		a.Reserve(name, []ipam.Reservation{{Reservation: &lb.Reservation{
			Name: lb.ReservationName{Namespace: "shop", Name: "r"}, UID: service,
			Service: name, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		}}})
	}
	a.Reserve(lb.ServiceName{Namespace: "shop", Name: "old"}, nil)
	if n := len(a.Standings()); n != 1 {
		t.Errorf("%d reservations may have changed, want that of the new Service", n)
	}
	a.Reserve(lb.ServiceName{Namespace: "shop", Name: "new"}, nil)
}
