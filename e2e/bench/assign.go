// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// bareClass keeps Herald away from the Services that the bare loop patches.
const bareClass = "bench.example/bare"

// singleStack is n Services with an IPv4 address.
func singleStack(n int) fleet { return fleet{namespace: fmt.Sprintf("assign-%d", n), size: n} }

// dualStack is n Services with an address of each family.
func dualStack(n int) fleet {
	return fleet{namespace: fmt.Sprintf("assign-%d-dual", n), size: n, dual: true}
}

// sample is how many patches make a bare loop: its rate does not depend on how long it
// runs.
const sample = 2000

// assignRate measures how fast n waiting Services get their addresses when the
// controller starts, beside a bare loop of status patches. The time runs from the
// start of the process: reading everything and winning the Lease are part of it. It
// also counts what that has the API server write.
func assignRate(n int) func(context.Context, *environment) ([]result, error) {
	return assignment{fmt.Sprint(n), singleStack(n)}.measure
}

// assignDual is assignRate of Services that want an address of each family.
func assignDual(n int) func(context.Context, *environment) ([]result, error) {
	return assignment{fmt.Sprintf("dual_%d", n), dualStack(n)}.measure
}

// assignment is one measurement of the rate.
type assignment struct {
	name  string
	fleet fleet
}

func (a assignment) measure(ctx context.Context, e *environment) ([]result, error) {
	bare := fleet{namespace: a.fleet.namespace + "-bare", size: min(a.fleet.size, sample), class: bareClass, dual: a.fleet.dual}
	e.say("storing %d Services for the controller and %d for the bare loop", a.fleet.size, bare.size)
	if err := errors.Join(e.stopSpeaker(ctx), e.seed(ctx, a.fleet), e.seed(ctx, bare)); err != nil {
		return nil, err
	}
	// Once before and once after, because the machine is not the same all the time.
	limit, err := e.bareRate(ctx, bare, 1)
	if err != nil {
		return nil, err
	}
	rates, counts, err := a.run(ctx, e)
	if err != nil {
		return nil, err
	}
	again, err := e.bareRate(ctx, bare, 2)
	if err != nil {
		return nil, err
	}
	for i := range rates {
		rates[i].Limit, rates[i].LimitOf = 2/(1/limit+1/again), "bare status patches"
	}
	return append(rates, counts...), e.drop(ctx, bare.namespace)
}

// run starts the controller and ends it when all Services have their addresses.
func (a assignment) run(ctx context.Context, e *environment) (rates, counts []result, err error) {
	before, err := e.requests(ctx)
	if err != nil {
		return nil, nil, err
	}
	e.say("starting the controller with %d Services waiting", a.fleet.size)
	var first time.Duration
	begin := time.Now()
	took, err := timed(func() error {
		if err := e.startController(); err != nil {
			return err
		}
		return a.fleet.await(ctx, e.api, func(s *corev1.Service) bool {
			if assigned(s) && first == 0 {
				first = time.Since(begin)
			}
			return assigned(s)
		})
	})
	if err != nil {
		return nil, nil, err
	}
	e.assigned[a.fleet.namespace] = a.fleet.size
	used, err := cpuTime(e.controller.cmd.Process.Pid)
	if err != nil {
		return nil, nil, err
	}
	rates = []result{{
		Name: "assign_" + a.name, Value: float64(a.fleet.size) / took.Seconds(), Unit: "/s", Goal: atLeast(0.8),
		Note: fmt.Sprintf("%.1f s from process start, %.1f s of them until the first; %.1f s of CPU in the controller",
			took.Seconds(), first.Seconds(), used.Seconds()),
	}, {
		Name: "assign_going_" + a.name, Value: float64(a.fleet.size-1) / (took - first).Seconds(), Unit: "/s", Goal: atLeast(0.8),
		Note: "from the first address to the last",
	}}
	if counts, err = a.counts(ctx, e, before); err != nil {
		return nil, nil, err
	}
	return rates, counts, e.stopController()
}

// counts returns how many writes an assignment has caused, by the API server's books.
func (a assignment) counts(ctx context.Context, e *environment, before map[apiRequest]int) ([]result, error) {
	// Events come after everything else, and of very many one would wait for minutes.
	all := a.fleet.size <= large
	if all {
		e.say("waiting until all Events are written")
		if err := e.awaitQuiet(ctx); err != nil {
			return nil, err
		}
	}
	now, err := e.requests(ctx)
	if err != nil {
		return nil, err
	}
	each := func(r apiRequest) float64 { return float64(now[r]-before[r]) / float64(a.fleet.size) }
	counts := []result{{
		Name: "status_writes_" + a.name, Value: each(statusWrite), Unit: "per assignment", Goal: atMost(1),
		Note: fmt.Sprintf("and %d of the pool's status in all", now[poolWrite]-before[poolWrite]),
	}}
	if all {
		counts = append(counts, result{
			Name: "events_" + a.name, Value: each(eventWrite), Unit: "per assignment", Goal: atMost(1),
		})
	}
	return counts, nil
}

// bareRate returns the rate of the bare loop, with one watch on as the controller's
// run has.
func (e *environment) bareRate(ctx context.Context, f fleet, round int) (float64, error) {
	e.say("patching %d statuses in a bare loop", f.size)
	patched := func(s *corev1.Service) bool {
		return assigned(s) && strings.HasPrefix(s.Status.LoadBalancer.Ingress[0].IP, fmt.Sprintf("10.%d.", round))
	}
	took, err := timed(func() error {
		seen := make(chan error, 1)
		go func() { seen <- f.await(ctx, e.api, patched) }()
		return errors.Join(patchStatuses(ctx, e.api, f, round), <-seen)
	})
	return float64(f.size) / took.Seconds(), err
}

// restart measures how long a new Service waits for its address when the controller
// has just restarted and must first take over 10 000 others.
func restart(ctx context.Context, e *environment) ([]result, error) {
	name, err := e.ensureAssigned(ctx, large)
	if err != nil {
		return nil, err
	}
	one := fleet{namespace: "restart", size: 1}
	if err := one.create(ctx, e.api); err != nil {
		return nil, err
	}
	e.say("restarting the controller with %d Services assigned and one new", large)
	took, err := timed(func() error {
		if err := e.startController(); err != nil {
			return err
		}
		return one.await(ctx, e.api, assigned)
	})
	if err != nil {
		return nil, err
	}
	listing, err := timed(func() error { return listServices(ctx, e.api, name) })
	if err != nil {
		return nil, err
	}
	results := []result{{
		Name: "restart_10000", Value: took.Seconds(), Unit: "s", Goal: atMost(2),
		Note: fmt.Sprintf("one list of the Services takes %.2f s; MetalLB 48 s", listing.Seconds()),
	}}
	return results, errors.Join(e.drop(ctx, "restart"), e.stopController())
}

// controllerMemory measures the controller's resident set while it looks after
// 10 000 Services it has taken over.
func controllerMemory(ctx context.Context, e *environment) ([]result, error) {
	if _, err := e.ensureAssigned(ctx, large); err != nil {
		return nil, err
	}
	one := fleet{namespace: "memory", size: 1}
	if err := errors.Join(one.create(ctx, e.api), e.startController()); err != nil {
		return nil, err
	}
	if err := one.await(ctx, e.api, assigned); err != nil {
		return nil, err
	}
	now, peak, err := settledMemory(ctx, e.controller.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	results := []result{{
		Name: "controller_rss_10000", Value: now, Unit: "MB", Goal: atMost(80),
		Note: fmt.Sprintf("peak %.0f MB; MetalLB 167 to 195 MB", peak),
	}}
	return results, errors.Join(e.drop(ctx, "memory"), e.stopController())
}

// timed returns how long f took.
func timed(f func() error) (time.Duration, error) {
	begin := time.Now()
	err := f()
	return time.Since(begin), err
}
