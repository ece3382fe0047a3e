// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// story runs a test against a cluster with a leading controller, in a bubble where
// time passes only while everybody waits.
func story(t *testing.T, pools map[string]string, tell func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.setPools(pools)
		ctx, end := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer end()
		go func() { _ = c.watch(ctx) }()
		s := &stage{T: t, cluster: c, ctx: ctx}
		tell(s)
		if s.term != nil {
			s.term.stop()
		}
	})
}

type stage struct {
	*testing.T
	*cluster
	ctx  context.Context
	term *term
}

// start has a controller lead, and waits until there is nothing left to do.
func (s *stage) start() {
	if s.term != nil {
		s.term.stop()
	}
	s.term = s.lead(s.ctx, "")
	s.settle()
}

// settle waits until nothing happens any more.
func (s *stage) settle() {
	synctest.Wait()
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func (s *stage) want(name lb.ServiceName, addresses string) {
	s.Helper()
	s.settle()
	if got := s.addresses(name); got != addresses {
		s.Errorf("%s has %q, want %q (%s)", name, got, addresses, s.condition(name))
	}
}

func annotate(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[key] = value
	}
}

func has(address string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	}
}

func TestAssignmentIsOneWriteAndOneEvent(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.1")
		if s.patches != 1 {
			t.Errorf("%d writes for one assignment, want 1", s.patches)
		}
		if diff := cmp.Diff([]string{"IPAllocated"}, s.said(web)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if got := s.get(web).Annotations[v1beta1.AnnotationAllocatedFromPool]; got != "a" {
			t.Errorf("the pool annotation is %q, want a", got)
		}
		if n := len(s.term.outbox.letters); n > 0 {
			t.Errorf("%d letters are kept about Services as they shall be", n)
		}
	})
}

func TestTakeoverPrecedesAssignment(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		first := s.create("first") // waits already, and is the oldest
		held := s.create("held", has("192.0.2.1"), annotate(v1beta1.AnnotationAllocatedFromPool, "a"))
		late := s.create("late")
		s.start()
		s.want(held, "192.0.2.1")
		s.want(first, "192.0.2.2")
		s.want(late, "")
		if got := s.condition(late); got != "False/PoolFull" {
			t.Errorf("the condition of who waits is %s, want False/PoolFull", got)
		}
		if len(s.said(held)) > 0 {
			t.Errorf("events about a Service that stays as it is: %v", s.said(held))
		}
	})
}

func TestFiveRestartsChangeNothing(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.2"}, func(s *stage) {
		var names []lb.ServiceName
		for i := range 4 {
			names = append(names, s.create(fmt.Sprint("s", i)))
		}
		s.start()
		before, writes, events := statuses(s.cluster), s.patches, len(s.events)
		for range 5 {
			s.start()
		}
		if diff := cmp.Diff(before, statuses(s.cluster)); diff != "" {
			t.Errorf("restarts change statuses (-before +after):\n%s", diff)
		}
		if s.patches != writes || len(s.events) != events {
			t.Errorf("restarts write %d times and tell %d events, want none", s.patches-writes, len(s.events)-events)
		}
		s.want(names[3], "")
	})
}

func TestWaitingServicesAreServedAtOnce(t *testing.T) {
	for name, free := range map[string]func(s *stage, holder lb.ServiceName){
		"deleted":      func(s *stage, holder lb.ServiceName) { s.remove(holder) },
		"type changed": func(s *stage, holder lb.ServiceName) { s.edit(holder, flip) },
		"pool grows": func(s *stage, _ lb.ServiceName) {
			s.setPools(map[string]string{"a": "192.0.2.1-192.0.2.2"})
		},
		"asks for another": func(s *stage, holder lb.ServiceName) {
			s.setPools(map[string]string{"a": "192.0.2.1/32", "b": "198.51.100.0/24"}, func(p *v1beta1.IPAddressPool) {
				no := false
				if p.Name == "b" {
					p.Spec.AutoAssign = &no
				}
			})
			s.edit(holder, annotate(v1beta1.AnnotationAddressPool, "b"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, map[string]string{"a": "192.0.2.1/32"}, func(s *stage) {
				s.start()
				holder := s.create("holder")
				s.settle()
				second, third := s.create("second"), s.create("third")
				s.want(second, "")
				free(s, holder)
				synctest.Wait()
				time.Sleep(time.Second)
				if got := s.addresses(second); got == "" {
					t.Errorf("the older of those who wait has no address a second later: %s", s.condition(second))
				}
				if got := s.condition(second); got != "True/Allocated" {
					t.Errorf("its condition is %s, want True/Allocated", got)
				}
				s.want(third, "")
			})
		})
	}
}

func TestServicesThatAreNotOursAreLeftAlone(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1-192.0.2.9"}, func(s *stage) {
		other := "example.com/other"
		theirs := s.create("theirs", has("203.0.113.1"), func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &other })
		ours := s.create("ours")
		s.start()
		s.want(ours, "192.0.2.1")
		s.want(theirs, "203.0.113.1")
		s.remove(ours)
		s.settle()
		if s.patches != 2 { // the assignment, and the attempt to tidy up
			t.Errorf("%d writes, want 2", s.patches)
		}
		s.term.stop()
		s.term = s.lead(s.ctx, other)
		again := s.create("again")
		s.want(theirs, "192.0.2.1")
		s.want(again, "")
	})
}

func TestServiceThatIsNoLoadBalancerAnyMoreIsTidiedUp(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1/32"}, func(s *stage) {
		s.start()
		holder := s.create("holder")
		s.settle()
		waiting := s.create("waiting")
		s.want(waiting, "")
		s.edit(waiting, flip)
		s.edit(holder, flip)
		s.settle()
		for _, name := range []lb.ServiceName{holder, waiting} {
			got := s.get(name)
			if len(got.Annotations)+len(got.Status.Conditions)+len(got.Status.LoadBalancer.Ingress) > 0 {
				t.Errorf("%s still has %v, %v, %v", name, got.Annotations, got.Status.Conditions, got.Status.LoadBalancer)
			}
		}
		s.edit(waiting, flip)
		s.want(waiting, "192.0.2.1")
	})
}

func TestNamespaceLabelsAreFollowed(t *testing.T) {
	story(t, nil, func(s *stage) {
		s.setPools(map[string]string{"gold": "192.0.2.1/32"}, func(p *v1beta1.IPAddressPool) {
			p.Spec.ServiceAllocation = &v1beta1.ServiceAllocation{
				NamespaceSelectors: []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"tier": "gold"}}},
			}
		})
		s.start()
		web := s.create("web")
		s.want(web, "")
		if got := s.condition(web); got != "False/NoMatchingPool" {
			t.Errorf("condition %s, want False/NoMatchingPool", got)
		}
		s.label("shop", labels.Set{"tier": "gold"})
		s.want(web, "192.0.2.1")
		s.label("shop", nil)
		s.want(web, "")
	})
}

func TestAddressThatNoPoolContainsAnyMoreIsReplaced(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.1/32"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.1")
		s.setPools(map[string]string{"b": "198.51.100.7/32"})
		s.want(web, "198.51.100.7")
		if diff := cmp.Diff([]string{"IPAllocated", "ClearAssignment", "IPAllocated"}, s.said(web)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		told := s.events[1].Message
		for _, word := range []string{"192.0.2.1 from pool a", "no pool contains", "198.51.100.7 from pool b"} {
			if !strings.Contains(told, word) {
				t.Errorf("the event %q does not say %q", told, word)
			}
		}
		s.setPools(nil)
		s.want(web, "")
		if got := s.condition(web); got != "False/NoPool" {
			t.Errorf("condition %s, want False/NoPool", got)
		}
	})
}

func TestAddressLostWhileNobodyLedIsExplained(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		web := s.create("web", has("203.0.113.5"), annotate(v1beta1.AnnotationAllocatedFromPool, "gone"))
		s.start()
		s.want(web, "192.0.2.0")
		if len(s.events) == 0 || !strings.Contains(s.events[0].Message, "no pool contains 203.0.113.5") {
			t.Errorf("events %v, want one that says why", s.events)
		}
	})
}

func TestBadRequestIsReportedAndTakesNothingAway(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.0")
		s.edit(web, annotate(v1beta1.AnnotationLoadBalancerIPs, "nonsense"))
		s.want(web, "192.0.2.0")
		if got := s.condition(web); got != "False/InvalidService" {
			t.Errorf("condition %s, want False/InvalidService", got)
		}
		s.edit(web, annotate(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.7"))
		s.want(web, "192.0.2.7")
		want := []string{"IPAllocated", "LoadBalancerFailed", "ClearAssignment", "IPAllocated"}
		if diff := cmp.Diff(want, s.said(web)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestDeprecatedAnnotationIsToldWithTheChange(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		s.start()
		web := s.create("web", annotate(v1beta1.DeprecatedAnnotationAddressPool, "a"))
		s.want(web, "192.0.2.0")
		s.edit(web, func(svc *corev1.Service) { svc.Labels = map[string]string{"x": "y"} })
		s.start()
		if diff := cmp.Diff([]string{"IPAllocated", "deprecatedAnnotation"}, s.said(web)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestForeignStatusIsOverwritten(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.0")
		s.edit(web, has("203.0.113.1"))
		s.want(web, "192.0.2.0")
		s.edit(web, func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "lb.example.com"})
		})
		s.want(web, "192.0.2.0")
		if got := s.get(web).Status.LoadBalancer.Ingress; len(got) != 1 {
			t.Errorf("ingress is %v, want our entry only", got)
		}
	})
}

func TestSuccessorUnderTheSameName(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0-192.0.2.1"}, func(s *stage) {
		s.start()
		s.create("other")
		s.settle()
		web := s.create("web")
		s.want(web, "192.0.2.1")
		s.remove(web)
		s.create("web")
		s.want(web, "192.0.2.1")
		if got := s.get(web).UID; !strings.HasPrefix(string(got), "web-") || s.patches < 3 {
			t.Errorf("the successor %s was not written to", got)
		}
	})
}

// Two Services change places by way of a third address while the API server is away:
// each write then waits for the other.
func TestCircleOfAddresses(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0-192.0.2.2"}, func(s *stage) {
		s.check = func(before, after *corev1.Service) { checkWrite(t, s.cluster, before, after) }
		ask := func(address string) func(*corev1.Service) {
			return annotate(v1beta1.AnnotationLoadBalancerIPs, address)
		}
		s.start()
		a, b := s.create("a", ask("192.0.2.0")), s.create("b", ask("192.0.2.1"))
		s.settle()
		s.away(true)
		for _, step := range []struct {
			name    lb.ServiceName
			address string
		}{{b, "192.0.2.2"}, {a, "192.0.2.1"}, {b, "192.0.2.0"}} {
			s.edit(step.name, ask(step.address))
			time.Sleep(time.Second)
		}
		if got := s.addresses(a) + " " + s.addresses(b); got != "192.0.2.0 192.0.2.1" {
			t.Errorf("the API server shows %s while it is away", got)
		}
		s.away(false)
		time.Sleep(time.Minute)
		s.want(a, "192.0.2.1")
		s.want(b, "192.0.2.0")
	})
}

func TestPoolStatusIsCoalesced(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		s.start()
		before := s.term.pools.count("a")
		if before != 1 {
			t.Errorf("%d writes of a pool's status at the start, want 1", before)
		}
		for i := range 100 {
			s.create(fmt.Sprint("s", i))
			time.Sleep(50 * time.Millisecond)
		}
		s.settle()
		if got := s.term.pools.count("a") - before; got < 2 || got > 7 {
			t.Errorf("%d writes of a pool's status in 5 s of churn, want about one a second", got)
		}
		for _, want := range []string{`"assignedIPv4":100`, `"availableIPv4":156`, `"type":"Accepted","status":"True"`} {
			if got := s.term.pools.last("a"); !strings.Contains(got, want) {
				t.Errorf("the last status %s does not say %s", got, want)
			}
		}
		last := s.term.pools.count("a")
		time.Sleep(time.Hour)
		if got := s.term.pools.count("a"); got != last {
			t.Errorf("%d writes of a pool's status while nothing happens", got-last)
		}
	})
}

func TestBrokenPoolIsReportedAndTakesNothingAway(t *testing.T) {
	story(t, map[string]string{"a": "192.0.2.0/24"}, func(s *stage) {
		s.start()
		web := s.create("web")
		s.want(web, "192.0.2.0")
		s.setPools(map[string]string{"a": "192.0.2.0/240"})
		s.want(web, "192.0.2.0")
		if got := s.condition(web); got != "False/PoolBroken" {
			t.Errorf("condition %s, want False/PoolBroken", got)
		}
		if got := s.term.pools.last("a"); !strings.Contains(got, `"status":"False","observedGeneration":0`) && !strings.Contains(got, `"status":"False"`) {
			t.Errorf("the pool's status is %s, want Accepted=False", got)
		}
		s.start()
		s.want(web, "192.0.2.0")
		s.setPools(map[string]string{"a": "192.0.2.0/24"})
		s.want(web, "192.0.2.0")
		if got := s.condition(web); got != "True/Allocated" {
			t.Errorf("condition %s, want True/Allocated", got)
		}
	})
}

// A takeover that cannot catch up assigns nothing until it can.
func TestTakeoverWaitsForFreshInformers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.setPools(map[string]string{"a": "192.0.2.0/24"})
		ctx, end := context.WithCancel(t.Context())
		go func() { _ = c.watch(ctx) }()
		c.stale = errors.New("connection refused")
		web := c.create("web")
		term := c.lead(ctx, "")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.addresses(web); got != "" {
			t.Errorf("assigned %s before the informers were fresh", got)
		}
		c.mu.Lock()
		c.stale = nil
		c.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := c.addresses(web); got != "192.0.2.0" {
			t.Errorf("has %q once the informers are fresh, want 192.0.2.0", got)
		}
		term.stop()
		end()
		synctest.Wait()
	})
}
