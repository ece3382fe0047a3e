// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// keeps writes a reservation by hand.
func keeps(service string, ttl time.Duration, addresses ...string) func(*v1alpha1.AddressReservation) {
	return func(o *v1alpha1.AddressReservation) {
		o.Spec.ServiceName, o.Spec.Addresses = service, addresses
		if ttl > 0 {
			o.Spec.TTL = &metav1.Duration{Duration: ttl}
		}
	}
}

func (s *stage) wantReservation(name lb.ReservationName, want string) {
	s.Helper()
	s.settle()
	if got := s.stands(name); got != want {
		s.Errorf("reservation %s is %q, want %q", name, got, want)
	}
}

func TestReservationOutlivesService(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.3"}, func(s *stage) {
		s.start()
		other := s.create("other")
		web := s.create("web", annotate(v1beta1.AnnotationReserve, "true"))
		s.want(web, "192.0.2.2")
		made := lb.ReservationName(web)
		s.wantReservation(made, "Bound Accepted")
		if o := s.reserved(made); o.Labels[v1alpha1.LabelFromAnnotation] != "true" || o.Spec.TTL != nil || o.Status.ReleasedAt != nil {
			t.Errorf("the reservation is %+v", o)
		}
		s.remove(web)
		s.wantReservation(made, "Held Accepted")
		if o := s.reserved(made); o.Status.ReleasedAt == nil || o.Status.ExpiresAt != nil {
			t.Errorf("its status is %+v; want since when it is released, and no end", o.Status)
		}
		s.remove(other)
		s.want(s.create("third"), "192.0.2.1")
		s.want(s.create("fourth"), "192.0.2.3")
		late, asking := s.create("late"), s.create("asking", annotate(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.2"))
		s.want(late, "")
		if got := s.condition(late); got != "False/PoolFull" {
			t.Errorf("the condition of who finds the pool full is %s", got)
		}
		if got := s.condition(asking); got != "False/Reserved" {
			t.Errorf("the condition of who asks for it is %s", got)
		}
		s.start() // what is reserved is in the API, not in memory
		s.want(late, "")
		web = s.create("web", annotate(v1beta1.AnnotationReserve, "true"))
		s.want(web, "192.0.2.2")
		s.wantReservation(made, "Bound Accepted")
		if o := s.reserved(made); o.Status.ReleasedAt != nil {
			t.Errorf("its status is still %+v", o.Status)
		}
	})
}

// A Service is deleted and made anew while its status is not written, and between two
// looks of the controller.
func TestReservationAndHastyReplacement(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		s.start()
		reserve := annotate(v1beta1.AnnotationReserve, "1h")
		web, other := s.create("web", reserve), s.create("other")
		s.want(web, "192.0.2.1")
		s.want(other, "192.0.2.2")
		late := s.create("late")
		for range 5 {
			s.remove(web)
			web = s.create("web", reserve)
			s.want(web, "192.0.2.1")
		}
		s.want(late, "")
	})
}

func TestReservationExpires(t *testing.T) {
	const ttl = time.Hour
	for name, restarts := range map[string]bool{"one leader": false, "restarts in between": true} {
		t.Run(name, func(t *testing.T) {
			story(t, map[string]string{"a": "192.0.2.1/32"}, func(s *stage) {
				s.start()
				web := s.create("web", annotate(v1beta1.AnnotationReserve, "1h"))
				s.want(web, "192.0.2.1")
				gone := time.Now()
				s.remove(web)
				waiting := s.create("waiting")
				s.want(waiting, "")
				end := s.reserved(lb.ReservationName(web)).Status.ExpiresAt
				if end == nil || end.Sub(gone.Truncate(time.Second)) > ttl+time.Second || end.Sub(gone) < ttl-time.Second {
					t.Errorf("it expires at %v, want %v after %v", end, ttl, gone)
				}
				for time.Since(gone) < ttl-15*time.Minute {
					time.Sleep(10 * time.Minute)
					if restarts {
						s.start()
					}
				}
				time.Sleep(time.Until(gone.Add(ttl - 10*time.Second)))
				s.want(waiting, "") // that takes five seconds
				time.Sleep(time.Until(gone.Add(ttl + 2*time.Second)))
				s.want(waiting, "192.0.2.1")
				s.wantReservation(lb.ReservationName(web), "none")
				s.want(s.create("web"), "")
			})
		})
	}
}

// A reservation that somebody wrote stays when it has expired, and counts again when the
// Service is there again. The time in which it is there does not count.
func TestHandWrittenReservation(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		s.start()
		r := s.reservation("mine", keeps("web", time.Hour, "192.0.2.1"))
		s.wantReservation(r, "Held Accepted")
		first := s.create("first")
		s.want(first, "192.0.2.2")
		time.Sleep(50 * time.Minute)
		web := s.create("web", annotate(v1beta1.AnnotationReserve, "true"))
		s.want(web, "192.0.2.1")
		s.wantReservation(r, "Bound Accepted")
		if got := s.stands(lb.ReservationName(web)); got != "none" {
			t.Errorf("another reservation was made beside it: %s", got)
		}
		time.Sleep(50 * time.Minute)
		s.remove(web)
		time.Sleep(50 * time.Minute)
		s.wantReservation(r, "Held Accepted")
		time.Sleep(15 * time.Minute)
		s.wantReservation(r, "Expired Expired")
		second := s.create("second")
		s.want(second, "192.0.2.1")
		web = s.create("web")
		s.want(web, "")
		s.wantReservation(r, "Refused AddressInUse")
		s.remove(second)
		s.want(web, "192.0.2.1")
		s.wantReservation(r, "Bound Accepted")
	})
}

func TestReservationIsRefusedWithReason(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		holder := s.create("holder")
		s.start()
		s.want(holder, "192.0.2.1")
		used := s.reservation("used", keeps("web", 0, "192.0.2.1"))
		outside := s.reservation("outside", keeps("web", 0, "203.0.113.1"))
		old := s.reservation("old", keeps("db", 0, "192.0.2.5"))
		young := s.reservation("young", keeps("web", 0, "192.0.2.5"))
		for name, want := range map[lb.ReservationName]string{
			used: "Refused AddressInUse", outside: "Refused OutsidePools", old: "Held Accepted", young: "Refused Conflict",
		} {
			s.wantReservation(name, want)
		}
		for name, word := range map[lb.ReservationName]string{used: "shop/holder", outside: "203.0.113.1", young: "shop/old"} {
			if got := s.reserved(name).Status.Conditions[0].Message; !strings.Contains(got, word) {
				t.Errorf("the condition of %s says %q, which does not name %s", name, got, word)
			}
		}
		s.want(holder, "192.0.2.1")
		s.unreserve(old)
		s.wantReservation(young, "Held Accepted")
		s.remove(holder)
		s.wantReservation(used, "Held Accepted")
		s.setPools(map[string]string{"a": "192.0.2.1-192.0.2.9", "b": "203.0.113.0/24"})
		s.wantReservation(outside, "Held Accepted")
		s.setPools(map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(p *v1beta1.IPAddressPool) {
			p.Spec.ServiceAllocation = &v1beta1.ServiceAllocation{Namespaces: []string{"bank"}}
		})
		s.wantReservation(young, "Refused NotAllowed")
	})
}

// The reservation that an annotation asks for follows the Service: its addresses, the
// duration, and whether it is asked for at all. What a user changes about it is undone.
func TestReservationFollowsAnnotation(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.start()
		web := s.create("web", annotate(v1beta1.AnnotationReserve, "true"))
		made := lb.ReservationName(web)
		said := func() string {
			o := s.reserved(made)
			if o == nil {
				return "none"
			}
			text := fmt.Sprint(o.Spec.Addresses)
			if o.Spec.TTL != nil {
				text += " " + o.Spec.TTL.Duration.String()
			}
			return strings.TrimSpace(text + " " + o.Spec.SharingKey)
		}
		want := func(text string) {
			t.Helper()
			s.settle()
			if got := said(); got != text {
				t.Errorf("the reservation says %s, want %s", got, text)
			}
		}
		want("[192.0.2.1]")
		s.edit(web, annotate(v1beta1.AnnotationReserve, "48h"))
		want("[192.0.2.1] 48h0m0s")
		s.edit(web, annotate(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.7"))
		want("[192.0.2.7] 48h0m0s")
		s.want(s.create("next"), "192.0.2.1")
		s.edit(web, annotate(v1beta1.AnnotationAllowSharedIP, "key"))
		want("[192.0.2.7] 48h0m0s key")
		s.reservation("web", func(o *v1alpha1.AddressReservation) { o.Spec.TTL = nil })
		want("[192.0.2.7] 48h0m0s key")
		s.unreserve(made)
		want("[192.0.2.7] 48h0m0s key")
		writes := s.reserve.writes
		s.start()
		if s.reserve.writes != writes {
			t.Errorf("a restart writes %d times", s.reserve.writes-writes)
		}
		s.edit(web, annotate(v1beta1.AnnotationReserve, "soon"))
		want("[192.0.2.7] 48h0m0s key")
		if got := s.condition(web); got != "False/InvalidService" {
			t.Errorf("with an annotation that makes no sense its condition is %s", got)
		}
		s.edit(web, func(svc *corev1.Service) { delete(svc.Annotations, v1beta1.AnnotationReserve) })
		s.wantReservation(made, "none")
		s.want(web, "192.0.2.7")
	})
}

// A reservation is deleted and made anew under its name, for another Service, faster than
// the informer tells.
func TestReservationMadeAnewForAnother(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.start()
		r := s.reservation("mine", keeps("web", 0, "192.0.2.1"))
		s.wantReservation(r, "Held Accepted")
		s.reservation("mine", func(o *v1alpha1.AddressReservation) {
			o.UID, o.Status = "anew", v1alpha1.AddressReservationStatus{}
			keeps("db", 0, "192.0.2.2")(o)
		})
		s.wantReservation(r, "Held Accepted")
		s.want(s.create("web"), "192.0.2.1")
		s.want(s.create("other"), "192.0.2.3")
		s.want(s.create("db"), "192.0.2.2")
		s.wantReservation(r, "Bound Accepted")
	})
}

// Of a Service that others serve nothing is kept, whatever it asks for: also when it was
// ours, under the same name, before.
func TestNothingIsKeptForAnotherClass(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		theirs := func(svc *corev1.Service) {
			svc.Spec.LoadBalancerClass = new("example.com/other")
			annotate(v1beta1.AnnotationReserve, "1h")(svc)
		}
		early := s.create("early", theirs, has("192.0.2.1"))
		s.start()
		late := s.create("late", theirs)
		web := s.create("web", annotate(v1beta1.AnnotationReserve, "1h"))
		s.want(web, "192.0.2.2")
		for _, name := range []lb.ServiceName{early, late} {
			s.wantReservation(lb.ReservationName(name), "none")
		}
		s.remove(web)
		s.create("web", theirs)
		s.wantReservation(lb.ReservationName(web), "Held Accepted")
		time.Sleep(2 * time.Hour)
		s.wantReservation(lb.ReservationName(web), "none")
	})
}

// Reservations are read before anything is given, so that nobody finds an address free
// because the Service it is kept for is not there.
func TestTakeoverReadsReservationsFirst(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		s.reservation("web", keeps("web", 0, "192.0.2.1"))
		eager := s.create("eager")
		s.start()
		s.want(eager, "192.0.2.2")
		s.want(s.create("web"), "192.0.2.1")
	})
}

func TestReservationsAreCounted(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.4"}, func(s *stage) {
		s.start()
		s.create("web", annotate(v1beta1.AnnotationReserve, "true"))
		s.settle()
		s.reservation("db", keeps("db", 0, "192.0.2.3"))
		s.reservation("no", keeps("db", 0, "203.0.113.1"))
		s.settle()
		samples := gathered(t, s.term.registry)
		for _, want := range []string{
			"herald_allocator_addresses_reserved{pool=a} 1",
			"herald_allocator_ipv4_addresses_reserved{pool=a} 1",
			"herald_allocator_ipv6_addresses_reserved{pool=a} 0",
			"metallb_allocator_addresses_total{pool=a} 4",
			"metallb_allocator_addresses_in_use_total{pool=a} 1",
			"herald_controller_reservations{state=Bound} 1",
			"herald_controller_reservations{state=Held} 1",
			"herald_controller_reservations{state=Refused} 1",
		} {
			if !slices.Contains(samples, want) {
				t.Errorf("no %s among\n%s", want, strings.Join(samples, "\n"))
			}
		}
		if got := s.term.pools.last("a"); !strings.Contains(got, `"reservedIPv4":1`) || !strings.Contains(got, `"availableIPv4":2`) {
			t.Errorf("the pool's status is %s", got)
		}
	})
}
