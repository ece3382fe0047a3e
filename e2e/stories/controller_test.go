// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The controller is restarted five times, the last time without a chance to say
// goodbye, while two Services wait for an address. Nobody's address changes, not even
// for a moment, and nobody says again what was said.
func TestControllerRestartedFiveTimes(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(3))
		s.givenPods(s.nodes...)
		want := map[string][]netip.Addr{}
		for _, name := range []string{"a", "b", "c"} {
			s.givenService(name, f)
			want[name] = s.expectAssigned(name, p)
		}
		// b has an address in the middle of the pool again, given after c's.
		s.deleteService("b")
		s.givenService("b", f)
		want["b"] = s.expectAssigned("b", p)
		for _, name := range []string{"waiting-1", "waiting-2"} {
			s.givenService(name, f)
			s.expectWaiting(name, "AllocationFailed", "")
			want[name] = nil
		}
		changes := s.watchAddresses(want)

		for range 4 {
			s.restart("deployment/controller")
			s.canary()
		}
		s.must(s.lab.Kill(target(s.expectLeader())))
		s.canary()

		if seen := changes(); len(seen) > 0 {
			s.Errorf("addresses changed: %v", seen)
		}
		for name, addrs := range want {
			if addrs == nil {
				s.expectEvents(name, "AllocationFailed", 1)
			} else {
				s.expectEvents(name, "IPAllocated", 1)
			}
		}
		s.deleteService("a")
		s.await(patience, "one of the two to be served", func() error {
			served := append(addressesOf(s.service("waiting-1")), addressesOf(s.service("waiting-2"))...)
			if !slices.Equal(served, want["a"]) {
				return fmt.Errorf("they have %v", served)
			}
			return nil
		})
		s.expectReachable(want["a"])
	})
}

// watchAddresses notes every time that one of the Services has other addresses than
// wanted. The function it returns ends that and says what was seen.
func (s *story) watchAddresses(want map[string][]netip.Addr) (changes func() []string) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	list, err := s.api().CoreV1().Services(s.ns).List(ctx, metav1.ListOptions{})
	s.must(err)
	w, err := s.api().CoreV1().Services(s.ns).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	s.must(err)
	var (
		seen []string
		done sync.WaitGroup
	)
	done.Go(func() {
		for event := range w.ResultChan() {
			service, ok := event.Object.(*corev1.Service)
			if !ok && ctx.Err() == nil {
				seen = append(seen, fmt.Sprintf("the watch broke: %v", event.Object))
			}
			if !ok {
				continue
			}
			wanted, watched := want[service.Name]
			if got := addressesOf(service); watched && !slices.Equal(got, wanted) {
				seen = append(seen, fmt.Sprintf("%s had %v, then %v", service.Name, wanted, got))
			}
		}
	})
	var once sync.Once
	changes = func() []string {
		once.Do(func() { cancel(); done.Wait() })
		return seen
	}
	s.Cleanup(func() { changes() })
	return changes
}

// While nobody controls, Services are created and addresses are found in their status.
// The first thing a controller does is to take those over, even from a pool's front and
// even if somebody older waits.
func TestTakeoverBeforeAssignment(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		s.scaleController(0)
		s.afterwards(func() { s.scaleController(2) })
		s.givenService("early", f)
		s.awaitNextSecond()
		s.givenService("holder", f)
		s.patchService("holder", `{"status":{"loadBalancer":{"ingress":[`+ingress(p.addrs(0))+`]}}}`, "status")
		changes := s.watchAddresses(map[string][]netip.Addr{"holder": p.addrs(0)})

		s.scaleController(2)

		s.expectAddresses("early", p.addrs(1))
		s.expectAddresses("holder", p.addrs(0))
		if seen := changes(); len(seen) > 0 {
			s.Errorf("addresses changed: %v", seen)
		}
	})
}

// The API server restarts. Whoever has an address keeps it, and the next one gets one.
func TestAPIServerRestarted(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenAnnounced("web", dual)
	records, stop := s.connectToAll(addrs)
	s.must(s.lab.RestartAPIServer(s.ctx))
	s.canary()
	for i, addr := range addrs {
		s.expectAnswers(records[i], 20)
		s.expectAnnouncedBy(addr, owner)
	}
	stop()
	s.expectGaps(addrs, records)
	s.expectAddresses("web", addrs)
	s.expectEvents("web", "IPAllocated", 1)
	s.expectEvents("web", "nodeAssigned", 1)
}

func ingress(addrs []netip.Addr) string {
	var list string
	for i, addr := range addrs {
		if i > 0 {
			list += ","
		}
		list += `{"ip":"` + addr.String() + `"}`
	}
	return list
}

// Of two controllers one leads. When it hangs the other one does its work, and when it
// comes to it does not believe to lead any more.
func TestControllerFailover(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4)
	s.givenService("before", ipv4)
	s.expectAssigned("before", p)
	first := s.expectLeader()

	s.afterwards(func() { s.check(s.lab.Continue(target(first))) })
	s.must(s.lab.Pause(target(first)))
	start := time.Now()
	s.givenService("meanwhile", ipv4)
	s.await(2*time.Minute, "the other controller to assign", func() error {
		if len(addressesOf(s.service("meanwhile"))) == 0 {
			return fmt.Errorf("no address yet")
		}
		return nil
	})
	s.Logf("a new Service got its address %v after its creation, with a leader that hangs", time.Since(start).Round(time.Millisecond))
	s.expectAddresses("meanwhile", p.addrs(1))
	if second := s.expectLeader(); second.Name == first.Name {
		s.Errorf("%s still leads", first.Name)
	}

	s.must(s.lab.Continue(target(first)))
	s.givenService("after", ipv4)
	s.expectAddresses("after", p.addrs(2))
	s.expectEvents("after", "IPAllocated", 1)
	s.expectAddresses("before", p.addrs(0))
	s.expectAddresses("meanwhile", p.addrs(1))
	s.awaitRollout("deployment/controller")
}

// poolStatus is what a user reads in an IPAddressPool's status.
type poolStatus struct {
	Status struct {
		AssignedIPv4, AssignedIPv6, AvailableIPv4, AvailableIPv6 int64
		Conditions                                               []metav1.Condition
	}
}

func (s *story) poolStatus(p *pool) (poolStatus, error) {
	var object poolStatus
	err := s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/ipaddresspools/"+p.name, &object)
	return object, err
}

func TestPoolStatusCounts(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(4))
		s.expectCounts(p, 0, 4)
		s.givenService("a", f)
		s.givenService("b", f)
		s.expectCounts(p, 2, 2)
		s.deleteService("a")
		s.expectCounts(p, 1, 3)
	})
}

// expectCounts waits until the pool's status has these figures for each of its
// families, and zeroes for the others.
func (s *story) expectCounts(p *pool, assigned, available int64) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to count %d assigned, %d available", p.name, assigned, available), func() error {
		object, err := s.poolStatus(p)
		if err != nil {
			return err
		}
		var want poolStatus
		if p.family.v4 {
			want.Status.AssignedIPv4, want.Status.AvailableIPv4 = assigned, available
		}
		if p.family.v6 {
			want.Status.AssignedIPv6, want.Status.AvailableIPv6 = assigned, available
		}
		got, expected := object.Status, want.Status
		if got.AssignedIPv4 != expected.AssignedIPv4 || got.AssignedIPv6 != expected.AssignedIPv6 ||
			got.AvailableIPv4 != expected.AvailableIPv4 || got.AvailableIPv6 != expected.AvailableIPv6 {
			return fmt.Errorf("it has %+v", got)
		}
		return nil
	})
}
