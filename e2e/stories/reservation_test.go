// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reserving has a Service's addresses kept: "true", or for how long.
func reserving(value string) serviceOption { return annotated("herald-lb.io/reserve", value) }

// reservation is what a user reads in an AddressReservation.
type reservation struct {
	Metadata metav1.ObjectMeta
	Spec     struct {
		ServiceName string
		Addresses   []string
	}
	Status struct {
		State                 string
		ReleasedAt, ExpiresAt *metav1.Time
		Conditions            []metav1.Condition
	}
}

func (s *story) reservationPath() string {
	return "/apis/herald-lb.io/v1alpha1/namespaces/" + s.ns + "/addressreservations"
}

func (s *story) reservations() []reservation {
	s.Helper()
	var list struct{ Items []reservation }
	s.must(s.read(s.reservationPath(), &list))
	return list.Items
}

// beginReserving opens a story that leaves no reservation behind: addresses are told of
// again, in other stories.
func beginReserving(t *testing.T) *story {
	t.Helper()
	s := begin(t)
	s.afterwards(func() {
		services, err := s.api().CoreV1().Services(s.ns).List(s.ctx, metav1.ListOptions{})
		s.check(err)
		for _, service := range services.Items {
			s.check(s.api().CoreV1().Services(s.ns).Delete(s.ctx, service.Name, metav1.DeleteOptions{}))
		}
		s.await(patience, "every reservation to be without its Service", func() error {
			for _, r := range s.reservations() {
				if r.Status.ReleasedAt == nil {
					return fmt.Errorf("%s says %+v", r.Metadata.Name, r.Status)
				}
			}
			return nil
		})
		s.check(s.api().CoreV1().RESTClient().Delete().AbsPath(s.reservationPath()).Do(s.ctx).Error())
	})
	return s
}

// eachFamilyReserving is eachFamily for stories that reserve.
func eachFamilyReserving(t *testing.T, tell func(s *story, f family)) {
	t.Helper()
	for _, f := range []family{ipv4, ipv6, dual} {
		t.Run(f.name, func(t *testing.T) { tell(beginReserving(t), f) })
	}
}

// givenReservation writes a reservation by hand; more is more of its spec.
func (s *story) givenReservation(name, service string, addrs []netip.Addr, more string) {
	s.Helper()
	words, err := json.Marshal(addrs)
	s.must(err)
	s.apply(fmt.Sprintf(`
apiVersion: herald-lb.io/v1alpha1
kind: AddressReservation
metadata:
  name: %s
  namespace: %s
spec:
  serviceName: %s
  addresses: %s
  %s
`, name, s.ns, service, words, more))
}

// expectReservation waits until the reservation is in that state, for that reason, and
// its condition mentions each of the words.
func (s *story) expectReservation(name, state, reason string, words ...string) reservation {
	s.Helper()
	var r reservation
	s.await(patience, fmt.Sprintf("reservation %s to be %s, %s", name, state, reason), func() error {
		r = reservation{}
		if err := s.read(s.reservationPath()+"/"+name, &r); err != nil {
			return err
		}
		if len(r.Status.Conditions) != 1 {
			return fmt.Errorf("it has the conditions %v", r.Status.Conditions)
		}
		c := r.Status.Conditions[0]
		unsaid := func(word string) bool { return !strings.Contains(c.Message, word) }
		accepted := metav1.ConditionStatus("False")
		if reason == "Accepted" {
			accepted = metav1.ConditionTrue
		}
		if r.Status.State != state || c.Type != "Accepted" || c.Reason != reason || c.Status != accepted || slices.ContainsFunc(words, unsaid) {
			return fmt.Errorf("it says %+v", r.Status)
		}
		return nil
	})
	return r
}

// expectReserved waits until the pool's status has these figures for each of its families.
func (s *story) expectReserved(p *pool, assigned, reserved, available int64) {
	s.Helper()
	s.expectCounts(p, assigned, available)
	s.await(patience, fmt.Sprintf("%s to count %d reserved", p.name, reserved), func() error {
		var object struct {
			Status struct{ ReservedIPv4, ReservedIPv6 int64 }
		}
		err := s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/ipaddresspools/"+p.name, &object)
		if got := object.Status; err == nil && (p.family.v4 && got.ReservedIPv4 != reserved || p.family.v6 && got.ReservedIPv6 != reserved) {
			err = fmt.Errorf("it has %+v", got)
		}
		return err
	})
}

// A Service that asks for it gets its address back after it was deleted, whatever others
// have done in the meantime. To them its address is taken, and they are told by whom.
func TestReservedWhileRecreated(t *testing.T) {
	eachFamilyReserving(t, func(s *story, f family) {
		p := s.givenPool(f, of(3))
		s.givenPods(s.nodes...)
		s.givenService("early", f)
		s.expectAddresses("early", p.addrs(0))
		s.givenService("web", f, reserving("true"))
		s.expectAddresses("web", p.addrs(1))
		s.expectReservation("web", "Bound", "Accepted", s.ns+"/web")

		s.deleteService("web")
		s.expectReservation("web", "Held", "Accepted", s.ns+"/web")
		s.expectReserved(p, 1, 1, 1)
		s.givenService("claimant", f, asking(p.addrs(1)))
		s.expectDenied("claimant", "Reserved", p.addrs(1)[0].String(), "Service "+s.ns+"/web", "AddressReservation "+s.ns+"/web")
		for i := range 3 {
			s.deleteService("early")
			s.givenService("early", f)
			s.expectAddresses("early", p.addrs(0))
			name := fmt.Sprintf("passing-%d", i)
			s.givenService(name, f)
			s.expectAddresses(name, p.addrs(2))
			s.deleteService(name)
		}
		s.givenService("last", f)
		s.expectAddresses("last", p.addrs(2))
		s.givenService("waiting", f)
		s.expectDenied("waiting", "PoolFull", p.name)
		s.expectReserved(p, 2, 1, 0)

		s.givenService("web", f, reserving("true"))
		s.expectAddresses("web", p.addrs(1))
		s.expectReachable(p.addrs(1))
		s.expectReservation("web", "Bound", "Accepted")
		s.expectReserved(p, 3, 0, 0)
		s.expectEvents("web", "IPAllocated", 1)
	})
}

// What somebody has reserved by hand waits for its Service, also in a pool that gives
// nothing unasked. It binds nobody to it: who asks for something else gets that.
func TestReservedByHand(t *testing.T) {
	eachFamilyReserving(t, func(s *story, f family) {
		p := s.givenPool(f)
		private := s.givenPool(f, notAutomatic)
		s.givenReservation("for-web", "web", private.addrs(5), "")
		s.kubectl("-n", s.ns, "wait", "addressreservation/for-web", "--for=condition=Accepted", "--timeout=30s")
		s.expectReservation("for-web", "Held", "Accepted", private.addrs(5)[0].String())
		s.givenService("web", f)
		s.expectAddresses("web", private.addrs(5))
		s.expectReservation("for-web", "Bound", "Accepted")

		s.deleteService("web")
		s.givenService("web", f, asking(p.addrs(2)))
		s.expectAddresses("web", p.addrs(2))
		s.expectReservation("for-web", "Held", "Accepted", p.addrs(2)[0].String())
		s.givenService("stranger", f, fromPool(private))
		s.expectAddresses("stranger", private.addrs(0))
	})
}

// When its time has come, and not before, the address goes to who waits for it. Of the
// reservation that an annotation made nothing is left; one written by hand says so.
func TestReservationExpires(t *testing.T) {
	const ttl = 6 * time.Second
	s := beginReserving(t)
	p := s.givenPool(ipv4, of(2))
	s.givenReservation("by-hand", "db", p.addrs(1), "ttl: 6s")
	s.givenService("web", ipv4, reserving("6s"))
	s.expectAddresses("web", p.addrs(0))
	s.expectReservation("web", "Bound", "Accepted")
	s.givenService("second", ipv4)
	s.expectAddresses("second", p.addrs(1)) // the first one's time was over, or soon is
	s.expectReservation("by-hand", "Expired", "Expired", "db", "6s")

	s.givenService("waiting", ipv4)
	s.expectWaiting("waiting", "AllocationFailed", p.name)
	before := time.Now()
	s.deleteService("web")
	r := s.expectReservation("web", "Held", "Accepted")
	if r.Status.ReleasedAt == nil || r.Status.ExpiresAt == nil || r.Status.ExpiresAt.Sub(r.Status.ReleasedAt.Time) != ttl {
		t.Errorf("released at %v, expires at %v; want %v between", r.Status.ReleasedAt, r.Status.ExpiresAt, ttl)
	}
	s.expectAddresses("waiting", p.addrs(0))
	if early := ttl - time.Second - time.Since(before); early > 0 { // the API keeps whole seconds
		t.Errorf("the address was given %v too early", early)
	}
	s.await(patience, "the reservation to be gone", func() error {
		for _, r := range s.reservations() {
			if r.Metadata.Name == "web" {
				return fmt.Errorf("it says %+v", r.Status)
			}
		}
		return nil
	})
}

// A reservation takes nothing away. It says who has the address, and when that one has
// left it is kept. What cannot be kept says why.
func TestReservationRefused(t *testing.T) {
	s := beginReserving(t)
	stranger := begin(t)
	p := s.givenPool(ipv4, of(3))
	closed := s.givenPool(ipv4, pinned("{namespaces: ["+stranger.ns+"]}"))
	stranger.givenService("holder", ipv4, asking(p.addrs(0)))
	stranger.expectAddresses("holder", p.addrs(0))
	s.givenReservation("in-use", "web", p.addrs(0), "")
	s.expectReservation("in-use", "Refused", "AddressInUse", stranger.ns+"/holder")
	s.givenReservation("outside", "web", []netip.Addr{netip.MustParseAddr("203.0.113.1")}, "")
	s.expectReservation("outside", "Refused", "OutsidePools", "203.0.113.1")
	s.givenReservation("pinned", "web", closed.addrs(0), "")
	s.expectReservation("pinned", "Refused", "NotAllowed", closed.name, s.ns)
	s.givenReservation("older", "db", p.addrs(2), "")
	s.expectReservation("older", "Held", "Accepted")
	s.awaitNextSecond() // ages are told in seconds
	s.givenReservation("a-younger", "web", p.addrs(2), "")
	s.expectReservation("a-younger", "Refused", "Conflict", s.ns+"/older", s.ns+"/db")
	stranger.canary()
	stranger.expectAddresses("holder", p.addrs(0))
	stranger.expectEvents("holder", "ClearAssignment", 0)

	stranger.deleteService("holder")
	s.expectReservation("in-use", "Held", "Accepted")
	s.givenService("web", ipv4)
	s.expectAddresses("web", p.addrs(0))
	s.expectReservation("in-use", "Bound", "Accepted")
}

// Reservations are in the API: controllers are restarted, killed and away for a while,
// and the address waits for its Service.
func TestReservationSurvivesControllers(t *testing.T) {
	s := beginReserving(t)
	p := s.givenPool(dual, of(1))
	s.givenService("web", dual, reserving("24h"))
	s.expectAddresses("web", p.addrs(0))
	s.expectReservation("web", "Bound", "Accepted")
	s.deleteService("web")
	released := s.expectReservation("web", "Held", "Accepted").Status.ReleasedAt
	s.givenService("waiting", dual)
	s.expectDenied("waiting", "PoolFull", p.name)
	s.restart("deployment/controller")
	s.must(s.lab.Kill(target(s.expectLeader())))
	s.canary()
	if now := s.expectReservation("web", "Held", "Accepted").Status.ReleasedAt; !now.Equal(released) {
		t.Errorf("it was released at %v, and now says %v", released, now)
	}
	s.givenService("web", dual, reserving("24h"))
	s.expectAddresses("web", p.addrs(0))

	// It goes away while nobody looks, and somebody older waits.
	s.expectReservation("web", "Bound", "Accepted")
	s.scaleController(0)
	s.afterwards(func() { s.scaleController(2) })
	s.deleteService("web")
	s.scaleController(2)
	s.canary()
	s.expectReservation("web", "Held", "Accepted")
	s.expectDenied("waiting", "PoolFull", p.name)
	s.givenService("web", dual, reserving("24h"))
	s.expectAddresses("web", p.addrs(0))
}

// Without the annotation nothing is kept, and what makes no sense is said.
func TestReservationFollowsAnnotation(t *testing.T) {
	s := beginReserving(t)
	p := s.givenPool(ipv4, of(4))
	s.givenService("web", ipv4, reserving("1h"))
	s.expectAddresses("web", p.addrs(0))
	s.expectReservation("web", "Bound", "Accepted")
	s.patchService("web", `{"metadata":{"annotations":{"metallb.io/loadBalancerIPs":"`+p.addrs(3)[0].String()+`"}}}`)
	s.expectAddresses("web", p.addrs(3))
	s.expectReservation("web", "Bound", "Accepted", p.addrs(3)[0].String())
	s.patchService("web", `{"metadata":{"annotations":{"herald-lb.io/reserve":null}}}`)
	s.await(patience, "the reservation to be gone", func() error {
		if r := s.reservations(); len(r) > 0 {
			return fmt.Errorf("there are %+v", r)
		}
		return nil
	})
	s.expectAddresses("web", p.addrs(3))
	s.givenService("typo", ipv4, reserving("2d"))
	s.expectRejected("typo", "InvalidService", "herald-lb.io/reserve", "2d", "48h")
}

// expectRejected waits until the Service's condition is False for the reason.
func (s *story) expectRejected(name, reason string, words ...string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to be %s", name, reason), func() error {
		for _, c := range s.service(name).Status.Conditions {
			unsaid := func(word string) bool { return !strings.Contains(c.Message, word) }
			if c.Type == allocated && c.Reason == reason && !slices.ContainsFunc(words, unsaid) {
				return nil
			}
		}
		return fmt.Errorf("it has %v", s.service(name).Status.Conditions)
	})
}

func TestReservationMetrics(t *testing.T) {
	s := beginReserving(t)
	p := s.givenPool(dual)
	s.givenReservation("db", "db", p.addrs(4), "")
	s.expectReservation("db", "Held", "Accepted")
	s.givenService("web", dual, reserving("true"))
	s.expectAddresses("web", p.addrs(0))
	s.expectReservation("web", "Bound", "Accepted")
	reader := s.givenAccount("reader", "metallb-system:metrics-reader")
	s.expectMetrics(s.expectLeader(), reader, map[string]string{
		`herald_allocator_addresses_reserved{pool="` + p.name + `"}`:      "2",
		`herald_allocator_ipv4_addresses_reserved{pool="` + p.name + `"}`: "1",
		`herald_allocator_ipv6_addresses_reserved{pool="` + p.name + `"}`: "1",
		`metallb_allocator_addresses_total{pool="` + p.name + `"}`:        "16",
		`metallb_allocator_addresses_in_use_total{pool="` + p.name + `"}`: "2",
		`herald_controller_reservations{state="Held"}`:                    "1",
		`herald_controller_reservations{state="Bound"}`:                   "1",
	})
}
