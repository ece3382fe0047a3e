// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// squatted is how a speaker writes that a station has an address.
func squatted(ttl time.Duration, address string) func(*v1alpha1.AddressReservation) {
	return func(o *v1alpha1.AddressReservation) {
		keeps("contested."+address, ttl, address)(o)
		o.Labels = map[string]string{v1alpha1.LabelContested: "02-ff-00-00-00-00"}
	}
}

// Who has a contested address keeps it. Nobody is given it afterwards who does not ask for
// it by name, and anybody when no speaker says any more that it is contested.
func TestContestedAddress(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.3"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.1")
		r := s.reservation("contested.192.0.2.1", squatted(10*time.Minute, "192.0.2.1"))
		s.want(web, "192.0.2.1")
		s.wantContested(web, "192.0.2.1 is also used by the station 02:ff:00:00:00:00")
		s.start()
		s.wantContested(web, "192.0.2.1 is also used by the station 02:ff:00:00:00:00")
		s.unreserve(r)
		s.wantContested(web, "")
		s.reservation("contested.192.0.2.1", squatted(10*time.Minute, "192.0.2.1"))
		s.remove(web)
		s.wantReservation(r, "Held Accepted")
		second := s.create("second")
		s.want(second, "192.0.2.2")
		s.start() // it is in the API, not in memory
		s.want(second, "192.0.2.2")

		asking := s.create("asking", annotate(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.1"))
		s.want(asking, "192.0.2.1")
		if got := s.condition(asking); strings.HasPrefix(got, "False") {
			t.Errorf("the condition of who has asked is %s", got)
		}
		s.wantReservation(r, "Refused AddressInUse")
		s.wantContested(asking, "192.0.2.1 is also used")
		s.start()
		s.want(asking, "192.0.2.1")
		s.remove(asking)
		s.wantReservation(r, "Held Accepted")
		s.want(s.create("third"), "192.0.2.3")
		late := s.create("late")
		s.want(late, "")
		if got := s.condition(late); got != "False/PoolFull" {
			t.Errorf("the condition of who finds the pool full is %s", got)
		}

		s.unreserve(r)
		s.want(late, "192.0.2.1")
	})
}

// wantContested waits for a condition that begins so, or for none.
func (s *stage) wantContested(name lb.ServiceName, message string) {
	s.Helper()
	s.settle()
	got := ""
	if cond := meta.FindStatusCondition(s.get(name).Status.Conditions, ConditionContested); cond != nil {
		got = cond.Message
	}
	if message == "" && got != "" || !strings.HasPrefix(got, message) {
		s.Errorf("%s is said to be contested: %q, want %q", name, got, message)
	}
}

// A reservation that no speaker renews ends, and is deleted.
func TestContestIsForgotten(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.1"}, func(s *stage) {
		s.start()
		r := s.reservation("contested.192.0.2.1", squatted(10*time.Minute, "192.0.2.1"))
		s.wantReservation(r, "Held Accepted")
		web := s.create("web")
		s.want(web, "")
		time.Sleep(8 * time.Minute)
		s.reservation("contested.192.0.2.1", func(o *v1alpha1.AddressReservation) {
			o.Spec.TTL = &metav1.Duration{Duration: 18 * time.Minute}
		})
		time.Sleep(9 * time.Minute)
		s.want(web, "")
		s.start()
		time.Sleep(30 * time.Second)
		s.want(web, "")
		time.Sleep(time.Minute)
		s.want(web, "192.0.2.1")
		s.wantReservation(r, "none")
	})
}

// What one Service asks for by name when it is contested goes to it also where others wait.
func TestContestedAddressAskedForFromTheBeginning(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.1"}, func(s *stage) {
		asking := s.create("asking", annotate(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.1"))
		r := s.reservation("contested.192.0.2.1", squatted(0, "192.0.2.1"))
		s.start()
		s.want(asking, "192.0.2.1")
		s.wantReservation(r, "Refused AddressInUse")
		web := s.create("web")
		s.want(web, "")
		s.remove(asking)
		s.want(web, "") // it does not ask
		s.wantReservation(lb.ReservationName{Namespace: "shop", Name: "contested.192.0.2.1"}, "Held Accepted")
	})
}
