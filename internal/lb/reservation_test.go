// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/lb"
)

func TestParseReservation(t *testing.T) {
	t.Parallel()
	born, left := time.Unix(1000, 0), time.Unix(2000, 0)
	o := &v1alpha1.AddressReservation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", UID: "u", CreationTimestamp: metav1.NewTime(born),
			Labels: map[string]string{v1alpha1.LabelFromAnnotation: "true"},
		},
		Spec: v1alpha1.AddressReservationSpec{
			ServiceName: "web", Addresses: []string{"2001:DB8:0::1", "192.0.2.1"},
			TTL: &metav1.Duration{Duration: time.Hour}, SharingKey: "k",
		},
		Status: v1alpha1.AddressReservationStatus{ReleasedAt: &metav1.Time{Time: left}},
	}
	want := lb.Reservation{
		Name: lb.ReservationName{Namespace: "shop", Name: "web-1"}, UID: "u", Created: born,
		Service:   lb.ServiceName{Namespace: "shop", Name: "web"},
		Addresses: []netip.Addr{addr("2001:db8::1"), addr("192.0.2.1")},
		TTL:       time.Hour, SharingKey: "k", ReleasedAt: left, FromAnnotation: true,
	}
	got, problems := lb.ParseReservation(o)
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || len(problems) > 0 {
		t.Errorf("problems %v, reservation (-want +got):\n%s", problems, diff)
	}
}

// A reservation that cannot be read keeps nothing, and says which field is to blame.
func TestParseReservationProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spec           v1alpha1.AddressReservationSpec
		field, message string
	}{
		"address": {
			v1alpha1.AddressReservationSpec{Addresses: []string{"192.0.2.1", "web"}},
			"spec.addresses[1]", `"web" is not an IP address`,
		},
		"zone": {
			v1alpha1.AddressReservationSpec{Addresses: []string{"fe80::1%eth0"}},
			"spec.addresses[0]", "has a zone",
		},
		"ttl": {
			v1alpha1.AddressReservationSpec{Addresses: []string{"192.0.2.1"}, TTL: &metav1.Duration{Duration: -1}},
			"spec.ttl", "less than nothing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, problems := lb.ParseReservation(&v1alpha1.AddressReservation{Spec: tt.spec})
			if len(problems) != 1 || len(got.Addresses) > 0 {
				t.Fatalf("problems %v, addresses %v; want one problem and no address", problems, got.Addresses)
			}
			p := problems[0]
			if !p.Fatal || p.Reason != lb.ReasonInvalid || p.Field != tt.field || !strings.Contains(p.Message, tt.message) {
				t.Errorf("problem %+v; want a fatal one of %s that says %q", p, tt.field, tt.message)
			}
		})
	}
}

func TestReservationExpires(t *testing.T) {
	t.Parallel()
	left := time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		ttl      time.Duration
		released time.Time
		now      time.Time
		want     bool
	}{
		"for ever":     {0, left, left.Add(1e9 * time.Second), false},
		"Service here": {time.Hour, time.Time{}, left.Add(2 * time.Hour), false},
		"just before":  {time.Hour, left, left.Add(time.Hour - 1), false},
		"just now":     {time.Hour, left, left.Add(time.Hour), true},
		"clock behind": {time.Hour, left, left.Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := lb.Reservation{TTL: tt.ttl}
			if got := r.Expired(tt.released, tt.now); got != tt.want {
				t.Errorf("Expired is %t, want %t", got, tt.want)
			}
		})
	}
}

func TestParseServiceReserve(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]lb.ReserveWish{
		"true": {Wanted: true}, "false": {}, "48h": {Wanted: true, TTL: 48 * time.Hour}, "1s": {Wanted: true, TTL: time.Second},
	} {
		svc, problems := lb.ParseService(web(func(s *corev1.Service) { annotate(s, "herald-lb.io/reserve", value) }))
		if svc.Reserve != want || len(problems) > 0 {
			t.Errorf("reserve %q is %+v with problems %v; want %+v and none", value, svc.Reserve, problems, want)
		}
	}
	for _, value := range []string{"", "yes", "48", "2d", "-1h", "0s", "10ms"} {
		svc, problems := lb.ParseService(web(func(s *corev1.Service) { annotate(s, "herald-lb.io/reserve", value) }))
		if len(problems) != 1 || !problems[0].Fatal || svc.Reserve.Wanted {
			t.Errorf("reserve %q is %+v with problems %v; want a fatal problem", value, svc.Reserve, problems)
		}
	}
}
