// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/herald-lb/herald/internal/lb"
)

// unannounced returns status/reason of ConditionAnnounced; empty if there is none.
func (c *cluster) unannounced(name lb.ServiceName) string {
	if cond := meta.FindStatusCondition(c.get(name).Status.Conditions, ConditionAnnounced); cond != nil {
		return string(cond.Status) + "/" + cond.Reason
	}
	return ""
}

// wantAnnounced expects a condition on a Service, and so many writes in all.
func (s *stage) wantAnnounced(name lb.ServiceName, condition string, patches int) {
	s.Helper()
	s.settle()
	if got := s.unannounced(name); got != condition || s.patches != patches {
		s.Errorf("%s is %q after %d writes; want %q after %d", name, got, s.patches, condition, patches)
	}
}

func (s *stage) wantGaps(n int) {
	s.Helper()
	if got := s.term.decider.gaps[lb.ReasonNoAdvertisement]; got != n {
		s.Errorf("%d Services are counted as not announced; want %d", got, n)
	}
}

// That no advertisement covers an address is said in the write that gives it, and taken
// back when one does. A Service that is as it shall be costs one write.
func TestUnadvertisedAddressIsSaidSo(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.start()
		first := s.create("first")
		s.wantAnnounced(first, "", 1)

		s.advertise(false)
		s.wantAnnounced(first, "False/NoAdvertisement", 2)
		second := s.create("second")
		s.wantAnnounced(second, "False/NoAdvertisement", 3)
		if diff := cmp.Diff([]string{"IPAllocated", "NoAdvertisement"}, s.said(second)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		s.wantGaps(2)

		s.start() // a restart says nothing again
		s.wantAnnounced(second, "False/NoAdvertisement", 3)
		s.advertise(true)
		s.wantAnnounced(first, "", 5)
		s.wantAnnounced(second, "", 5)
		s.wantGaps(0)
		s.want(first, "192.0.2.1")
	})
}

// While a part of the configuration is not known nothing is said about announcing: not
// that nobody does, and not that somebody does after all.
func TestIncompleteConfigurationSaysNothing(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.advertise(false)
		s.start()
		mute := s.create("mute")
		s.wantAnnounced(mute, "False/NoAdvertisement", 1)

		s.mu.Lock()
		s.incomplete = true
		s.mu.Unlock()
		s.start()
		fresh := s.create("fresh")
		s.wantAnnounced(fresh, "", 2)
		s.wantAnnounced(mute, "False/NoAdvertisement", 2)
		s.advertise(false)
		s.wantAnnounced(fresh, "False/NoAdvertisement", 3)
	})
}

// A condition of ours goes with the type.
func TestAnnouncedGoesWithTheType(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.advertise(false)
		s.start()
		web := s.create("web")
		s.wantAnnounced(web, "False/NoAdvertisement", 1)
		s.edit(web, flip)
		s.wantAnnounced(web, "", 2)
	})
}

// A controller that comes to serve another class leaves the Services alone that are not
// its own any more, and gives their addresses to nobody while their statuses show them.
func TestAnotherClassKeepsItsAddresses(t *testing.T) {
	const class = "example.com/lb"
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		s.start()
		theirs := s.create("theirs")
		s.want(theirs, "192.0.2.1")
		s.term.stop()
		s.term = s.lead(s.ctx, class)

		ofClass := func(s *corev1.Service) { s.Spec.LoadBalancerClass = new(class) }
		ours, second := s.create("ours", ofClass), s.create("second", ofClass)
		s.want(ours, "192.0.2.2")
		s.want(second, "")
		s.want(theirs, "192.0.2.1")
		if got := s.term.decider.reasons[lb.ReasonOtherClass]; got != 1 {
			t.Errorf("%d Services are counted as of another class; want 1", got)
		}

		s.edit(theirs, func(s *corev1.Service) { s.Status.LoadBalancer = corev1.LoadBalancerStatus{} })
		s.want(second, "192.0.2.1")
		s.edit(theirs, flip)
		s.settle()
		if got := s.term.decider.reasons[lb.ReasonOtherClass]; got != 0 {
			t.Errorf("%d Services are counted as of another class after the last one has gone", got)
		}
		if diff := cmp.Diff([]string{"IPAllocated"}, s.said(theirs)); diff != "" {
			t.Errorf("it was talked about (-want +got):\n%s", diff)
		}
		if s.get(theirs).Annotations == nil {
			t.Error("it was tidied up, though it is none of ours")
		}
	})
}

// While the takeover waits for the API server, metrics say why Services have no address.
func TestTakingOverIsShown(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		s.create("waiting")
		s.settle()
		s.stale = errors.New("connection refused")
		s.start()
		books := s.term.decider.reporter.metrics.books.Load()
		if books == nil || books.services[lb.ReasonTakingOver] != 1 || books.waiting != 1 {
			t.Errorf("the books are %+v; want one Service that waits for the takeover", books)
		}
		s.mu.Lock()
		s.stale = nil
		s.mu.Unlock()
		s.settle()
		if books := s.term.decider.reporter.metrics.books.Load(); books.services[lb.ReasonAllocated] != 1 || books.services[lb.ReasonTakingOver] != 0 {
			t.Errorf("after it the books are %+v", books)
		}
	})
}

// What is told of gaps is told as a metric, too.
func TestGapsAreMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	out := newOutbox(nil, nil, m, nil)
	t.Cleanup(out.queue.ShutDown)
	m.beginTerm(out, func() uint64 { return 0 })
	m.books.Store(&books{gaps: map[lb.Reason]int{lb.ReasonNoAdvertisement: 2, lb.ReasonAnnounced: 7, lb.ReasonNoPeer: 0}})
	samples := gathered(t, registry)
	for _, want := range []string{
		"herald_controller_services_not_announced{reason=NoAdvertisement} 2",
		"herald_controller_services_not_announced{reason=NoPeer} 0",
	} {
		if !slices.Contains(samples, want) {
			t.Errorf("%q is missing in %q", want, samples)
		}
	}
	if slices.ContainsFunc(samples, func(s string) bool { return s == "herald_controller_services_not_announced{reason=Announced} 7" }) {
		t.Error("those that are announced are counted as not announced")
	}
}
