// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// eventCost is what one new Service costs.
type eventCost struct {
	services int           // that were there before
	latency  time.Duration // until it has its address: the median
	bare     time.Duration // the same of a program that does nothing but watch and patch
	cpu      time.Duration // of the controller
}

// slowdown returns how much later than it could the address comes.
func (c eventCost) slowdown() float64 { return float64(c.latency) / float64(c.bare) }

// oneEvent measures what one new Service costs when n others are there: how long it
// waits for its address, beside a program that does nothing but patch, and how much
// processor time the controller spends, its Event included. Neither may grow with n.
func oneEvent(n int) func(context.Context, *environment) ([]result, error) {
	return func(ctx context.Context, e *environment) ([]result, error) {
		if err := e.stopSpeaker(ctx); err != nil {
			return nil, err
		}
		if _, err := e.ensureAssigned(ctx, n); err != nil {
			return nil, err
		}
		cost, err := e.measureEvent(ctx, n)
		if err != nil {
			return nil, err
		}
		if e.smallest == (eventCost{}) {
			e.smallest = cost
		}
		return cost.results(e.smallest), nil
	}
}

// results returns the figures, beside those with the fewest Services.
func (c eventCost) results(smallest eventCost) []result {
	results := []result{{
		Name: fmt.Sprintf("event_latency_%d", c.services), Value: milliseconds(c.latency), Unit: "ms",
		Limit: milliseconds(c.bare), LimitOf: "watch and patch",
		Note: "p50 from the answer to the create to the address in a watch",
	}, {
		Name: fmt.Sprintf("event_cpu_%d", c.services), Value: milliseconds(c.cpu), Unit: "ms",
		Note: "of the controller, with its Event",
	}}
	if c == smallest {
		return results
	}
	of := fmt.Sprintf("with %d", smallest.services)
	return append(results, result{
		Name: fmt.Sprintf("event_latency_flat_%d", c.services), Value: c.slowdown(), Unit: "x bare",
		Limit: smallest.slowdown(), LimitOf: of, Goal: atMost(1.3),
	}, result{
		Name: fmt.Sprintf("event_cpu_flat_%d", c.services), Value: milliseconds(c.cpu), Unit: "ms",
		Limit: milliseconds(smallest.cpu), LimitOf: of, Goal: atMost(1.3),
	})
}

// measureEvent creates Services while a controller looks after n others.
func (e *environment) measureEvent(ctx context.Context, n int) (c eventCost, err error) {
	name := fmt.Sprintf("event-%d", n)
	if err := e.startLeading(ctx, name+"-try"); err != nil {
		return c, err
	}
	e.say("creating Services, one after the other, beside %d others", n)
	c.services = n
	if c.latency, c.bare, err = e.latencies(ctx, name+"-latency"); err != nil {
		return c, err
	}
	if err := e.awaitQuiet(ctx); err != nil {
		return c, err
	}
	// Enough for garbage collections to be a part of each, and not of some by chance.
	f := fleet{namespace: name, size: 1000}
	c.cpu, err = e.controllerTime(func() error {
		return errors.Join(f.create(ctx, e.api), e.awaitQuiet(ctx))
	})
	c.cpu /= time.Duration(f.size)
	return c, errors.Join(err, e.stopController(), e.drop(ctx, name))
}

// controllerTime returns the processor time that the controller spends meanwhile.
func (e *environment) controllerTime(meanwhile func() error) (time.Duration, error) {
	pid := e.controller.cmd.Process.Pid
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	if err := meanwhile(); err != nil {
		return 0, err
	}
	after, err := cpuTime(pid)
	return after - before, err
}

// latencies creates Services one after the other, in turns for the controller and for
// the least that could serve them, and returns the medians of the times until they
// have their addresses. In turns, because the machine is not the same all the time.
func (e *environment) latencies(ctx context.Context, name string) (herald, bare time.Duration, err error) {
	const times = 300
	fleets := [2]fleet{
		{namespace: name, size: times},
		{namespace: name + "-bare", size: times, class: bareClass},
	}
	var shown [2]watch.Interface
	for i, f := range fleets {
		if err := createNamespace(ctx, e.api, f.namespace); err != nil {
			return 0, 0, err
		}
		if shown[i], err = e.api.CoreV1().Services(f.namespace).Watch(ctx, metav1.ListOptions{}); err != nil {
			return 0, 0, fmt.Errorf("watch services: %w", err)
		}
		defer shown[i].Stop()
	}
	served := make(chan error, 1)
	go func() { served <- e.serveBare(ctx, fleets[1]) }()
	var waits [2][]time.Duration
	for n := range times {
		for i, f := range fleets {
			wait, err := e.wait(ctx, f, n, shown[i])
			if err != nil {
				return 0, 0, err
			}
			waits[i] = append(waits[i], wait)
		}
	}
	for i := range waits {
		slices.Sort(waits[i])
	}
	err = errors.Join(<-served, e.drop(ctx, fleets[0].namespace), e.drop(ctx, fleets[1].namespace))
	return waits[0][times/2], waits[1][times/2], err
}

// wait creates the i-th Service of f and returns the time from the answer until a
// watch shows its address.
func (e *environment) wait(ctx context.Context, f fleet, i int, shown watch.Interface) (time.Duration, error) {
	if _, err := e.api.CoreV1().Services(f.namespace).Create(ctx, f.service(i), metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	return timed(func() error {
		for {
			s, err := nextService(ctx, shown)
			if err != nil {
				return fmt.Errorf("wait for the address of service %d: %w", i, err)
			}
			if s.Name == serviceName(i) && assigned(s) {
				return nil
			}
		}
	})
}

// serveBare gives each Service of f an address as soon as a watch shows it.
func (e *environment) serveBare(ctx context.Context, f fleet) error {
	w, err := e.api.CoreV1().Services(f.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	defer w.Stop()
	for done := 0; done < f.size; {
		s, err := nextService(ctx, w)
		if err != nil {
			return err
		}
		if assigned(s) {
			continue
		}
		if err := patchStatus(ctx, e.api, f, done, 1); err != nil {
			return err
		}
		done++
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
