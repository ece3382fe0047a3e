// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// TestChaos lets users create, change and delete Services while writes are slow, get
// lost before or after they were carried out, the informers lag behind, and the
// controller is killed again and again. At no time two statuses may show the same
// address, no Service whose wish stands may see its address change, what is reserved is
// shown by nobody but the Service it is reserved for, and in the end everybody has what
// there is.
func TestChaos(t *testing.T) {
	runs := uint64(100)
	if testing.Short() {
		runs = 6
	}
	for seed := range runs {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	c := newCluster(t)
	c.chance = rand.New(rand.NewPCG(seed, 4))
	c.check = func(before, after *corev1.Service) { checkWrite(t, c, before, after) }
	c.setPools(map[string]string{"a": "192.0.2.0/29", "b": "198.51.100.0/30"})
	c.reservation("kept", keeps(keptName, 0, keptAddress))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	go func() { _ = c.watch(ctx) }()

	term := c.lead(ctx, "")
	for range 150 {
		wait(ctx, time.Duration(r.IntN(60))*time.Millisecond)
		if r.IntN(25) == 0 {
			term.stop()
			term = c.lead(ctx, "")
			continue
		}
		disturb(c, r)
	}
	c.mu.Lock()
	c.chance = nil
	c.mu.Unlock()
	time.Sleep(5 * time.Minute)
	synctest.Wait()

	checkEverybodyServed(t, c)
	checkReservations(t, c)
	before := statuses(c)
	c.mu.Lock()
	c.patches, c.reserve.writes = 0, 0
	c.mu.Unlock()
	term.stop()
	term = c.lead(ctx, "")
	time.Sleep(time.Minute)
	synctest.Wait()
	if after := statuses(c); !slices.Equal(before, after) {
		t.Errorf("a restart changes statuses:\n%v\n%v", before, after)
	}
	if c.patches+c.reserve.writes > 0 {
		t.Errorf("a restart without need for it writes %d times, and %d times about reservations", c.patches, c.reserve.writes)
	}
	if n := len(term.outbox.letters); n > 0 {
		t.Errorf("%d letters are left", n)
	}
	if len(term.outbox.quarters) > 0 || len(term.outbox.held) > 0 {
		t.Errorf("quarters %v, held %v are left", term.outbox.quarters, term.outbox.held)
	}
	term.stop()
	end()
	synctest.Wait()
}

// disturb is one thing that a user does.
func disturb(c *cluster, r *rand.Rand) {
	n := r.IntN(16)
	name := lb.ServiceName{Namespace: "shop", Name: fmt.Sprint("s", n)}
	c.mu.Lock()
	_, exists := c.services[name]
	c.mu.Unlock()
	switch {
	case !exists:
		c.create(name.Name, func(s *corev1.Service) {
			switch {
			case n < 6:
				ask(s, r)
			case n >= 12 && name.Name != keptName:
				annotate(v1beta1.AnnotationReserve, "true")(s)
			}
		})
	case r.IntN(2) == 0:
		c.remove(name)
	case n < 6:
		c.edit(name, func(s *corev1.Service) { ask(s, r) })
	case n < 8:
		c.edit(name, flip)
	}
}

// keptAddress is reserved from the start for the Service keptName, which asks for nothing.
const (
	keptName    = "s15"
	keptAddress = "192.0.2.5"
)

// ask requests an address, the same few as others.
func ask(s *corev1.Service, r *rand.Rand) {
	s.Annotations = map[string]string{v1beta1.AnnotationLoadBalancerIPs: fmt.Sprint("192.0.2.", r.IntN(4))}
}

// flip changes the type, and does what the API server then does.
func flip(s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		s.Spec.Type = corev1.ServiceTypeClusterIP
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		return
	}
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
}

// checkWrite is called with the cluster locked.
func checkWrite(t *testing.T, c *cluster, before, after *corev1.Service) {
	had, has := ingress(before), ingress(after)
	gained := without(has, had)
	for name, other := range c.services {
		for _, a := range ingress(other) {
			if name.Name != after.Name && slices.Contains(gained, a) {
				t.Errorf("%s is given to %s while %s shows it", a, after.Name, name)
			}
		}
	}
	kept := slices.ContainsFunc(has, func(a netip.Addr) bool { return a.String() == keptAddress })
	if len(has) > 0 && kept != (after.Name == keptName) {
		t.Errorf("%s gets %v, and %s is reserved for %s", after.Name, has, keptAddress, keptName)
	}
	_, asks := after.Annotations[v1beta1.AnnotationLoadBalancerIPs]
	if !asks && len(had) > 0 && !slices.Equal(had, has) {
		t.Errorf("the address of %s changes from %v to %v", after.Name, had, has)
	}
}

// checkEverybodyServed holds what each Service has against what it could have.
func checkEverybodyServed(t *testing.T, c *cluster) {
	used := map[string]string{}
	waiting := 0
	for name, s := range c.services {
		addrs := join(ingress(s))
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			if addrs != "" {
				t.Errorf("%s is no load balancer any more and still has %q", name, addrs)
			}
			continue
		}
		if addrs == "" {
			waiting++
			if cond := c.conditionLocked(s); cond == "" {
				t.Errorf("%s has no address and does not say why", name)
			}
			continue
		}
		if other, ok := used[addrs]; ok {
			t.Errorf("%s is given to both %s and %s", addrs, name, other)
		}
		used[addrs] = name.String()
	}
	capacity := 8 + 4
	kept := map[string]bool{}
	for _, o := range c.reserve.stored {
		if _, ok := used[o.Spec.Addresses[0]]; !ok {
			kept[o.Spec.Addresses[0]] = true
			capacity--
		}
	}
	for name, s := range c.services {
		wish := s.Annotations[v1beta1.AnnotationLoadBalancerIPs]
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer || wish == join(ingress(s)) {
			continue
		}
		if _, ok := used[wish]; wish != "" && !ok && !kept[wish] {
			t.Errorf("%s asks for %s, which is free, and does not get it", name, wish)
		}
		if wish == "" && len(ingress(s)) == 0 && len(used) < capacity {
			t.Errorf("%s has no address, though %d are free", name, capacity-len(used))
		}
	}
}

// checkReservations holds what is reserved against what the Services have that asked for it.
func checkReservations(t *testing.T, c *cluster) {
	for name, s := range c.services {
		o, ok := c.reserve.stored[lb.ReservationName(name)]
		addrs := join(ingress(s))
		switch {
		case s.Annotations[v1beta1.AnnotationReserve] == "" || addrs == "":
		case !ok:
			t.Errorf("no reservation keeps %s for %s", addrs, name)
		case o.Spec.Addresses[0] != addrs || o.Status.State != v1alpha1.ReservationBound:
			t.Errorf("%s has %s, and its reservation says %v, %s", name, addrs, o.Spec.Addresses, o.Status.State)
		}
	}
	for name, o := range c.reserve.stored {
		s, ok := c.services[lb.ServiceName{Namespace: name.Namespace, Name: o.Spec.ServiceName}]
		if ok && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			ok = false
		}
		if ok != (o.Status.ReleasedAt == nil) {
			t.Errorf("reservation %s says that its Service is not there since %v: it is there: %t", name, o.Status.ReleasedAt, ok)
		}
	}
}

func (c *cluster) conditionLocked(s *corev1.Service) string {
	svc, _ := lb.ParseService(s)
	return observe(s, &svc).condition.message
}

func statuses(c *cluster) []string {
	var all []string
	for name, s := range c.services {
		all = append(all, fmt.Sprint(name, ingress(s), s.Annotations, c.conditionLocked(s)))
	}
	slices.Sort(all)
	return all
}
