// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eventCost is what one new Service costs.
type eventCost struct {
	services int           // that were there before
	latency  time.Duration // until it has its address: the median
	cpu      time.Duration // of the controller
}

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
		bare, err := e.bareLatency(ctx, fmt.Sprintf("event-bare-%d", n))
		if err != nil {
			return nil, err
		}
		cost, err := e.measureEvent(ctx, n)
		if err != nil {
			return nil, err
		}
		results := []result{{
			Name: fmt.Sprintf("event_latency_%d", n), Value: milliseconds(cost.latency), Unit: "ms",
			Limit: milliseconds(bare), LimitOf: "watch and patch",
			Note: "p50 from the answer to the create to the address in a watch",
		}, {
			Name: fmt.Sprintf("event_cpu_%d", n), Value: milliseconds(cost.cpu), Unit: "ms",
			Note: "of the controller, with its Event",
		}}
		if e.smallest == (eventCost{}) {
			e.smallest = cost
			return results, nil
		}
		of := fmt.Sprintf("with %d", e.smallest.services)
		return append(results, result{
			Name: fmt.Sprintf("event_latency_flat_%d", n), Value: milliseconds(cost.latency), Unit: "ms",
			Limit: milliseconds(e.smallest.latency), LimitOf: of, Goal: atMost(1.3),
		}, result{
			Name: fmt.Sprintf("event_cpu_flat_%d", n), Value: milliseconds(cost.cpu), Unit: "ms",
			Limit: milliseconds(e.smallest.cpu), LimitOf: of, Goal: atMost(1.3),
		}), nil
	}
}

// events is how many Services are created one after the other.
const events = 300

// measureEvent creates Services while a controller looks after n others.
func (e *environment) measureEvent(ctx context.Context, n int) (cost eventCost, err error) {
	name := fmt.Sprintf("event-%d", n)
	if err := e.startLeading(ctx, name+"-try"); err != nil {
		return cost, err
	}
	pid := e.controller.cmd.Process.Pid
	e.say("creating %d Services, one after the other, beside %d others", events, n)
	before, err := cpuTime(pid)
	if err != nil {
		return cost, err
	}
	latency, err := e.waits(ctx, fleet{namespace: name, size: events})
	if err != nil {
		return cost, err
	}
	if err := e.awaitQuiet(ctx); err != nil {
		return cost, err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return cost, err
	}
	cost = eventCost{services: n, latency: latency, cpu: (after - before) / events}
	return cost, errors.Join(e.stopController(), e.drop(ctx, name))
}

// waits creates the Services of f one after the other and returns the median of the
// times until they have their addresses.
func (e *environment) waits(ctx context.Context, f fleet) (time.Duration, error) {
	if err := createNamespace(ctx, e.api, f.namespace); err != nil {
		return 0, err
	}
	services := e.api.CoreV1().Services(f.namespace)
	w, err := services.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("watch services: %w", err)
	}
	defer w.Stop()
	var waits []time.Duration
	for i := range f.size {
		if _, err := services.Create(ctx, f.service(i), metav1.CreateOptions{}); err != nil {
			return 0, err
		}
		wait, err := timed(func() error {
			for {
				s, err := nextService(ctx, w)
				if err != nil || s.Name == serviceName(i) && assigned(s) {
					return err
				}
			}
		})
		if err != nil {
			return 0, fmt.Errorf("wait for the address of service %d: %w", i, err)
		}
		waits = append(waits, wait)
	}
	slices.Sort(waits)
	return waits[len(waits)/2], nil
}

// bareLatency returns what waits does of the least that could serve Services: a watch
// and a patch for each.
func (e *environment) bareLatency(ctx context.Context, name string) (time.Duration, error) {
	if err := createNamespace(ctx, e.api, name); err != nil {
		return 0, err
	}
	f := fleet{namespace: name, size: events, class: bareClass}
	w, err := e.api.CoreV1().Services(name).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("watch services: %w", err)
	}
	served := make(chan error, 1)
	go func() {
		served <- func() error {
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
		}()
	}()
	wait, err := e.waits(ctx, f)
	if err != nil {
		return 0, err
	}
	return wait, errors.Join(<-served, e.drop(ctx, name))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
