// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bareClass keeps Herald away from the Services that the bare loop patches.
const bareClass = "bench.example/bare"

func assignNamespace(n int) string { return fmt.Sprintf("assign-%d", n) }

// assignRate measures how fast n waiting Services get their addresses when the
// controller starts, beside a bare loop of status patches. The time runs from the
// start of the process: reading everything and winning the Lease are part of it.
func assignRate(n int) func(context.Context, *environment) ([]result, error) {
	return func(ctx context.Context, e *environment) ([]result, error) {
		// The rate of the bare loop does not depend on how long it runs.
		bare := min(n, 2000)
		e.say("creating %d Services for the controller and %d for the bare loop", n, bare)
		assign, limit := assignNamespace(n), fmt.Sprintf("bare-%d", n)
		err := errors.Join(
			createServices(ctx, e.api, assign, "", n),
			createServices(ctx, e.api, limit, bareClass, bare))
		if err != nil {
			return nil, err
		}
		e.say("patching %d statuses in a bare loop", bare)
		bareTime, err := timed(func() error { return patchWatched(ctx, e, limit, bare) })
		if err != nil {
			return nil, err
		}
		if err := e.drop(ctx, limit); err != nil {
			return nil, err
		}
		e.say("starting the controller with %d Services waiting", n)
		var used float64
		took, err := timed(func() error {
			if err := e.startController(); err != nil {
				return err
			}
			return awaitAssigned(ctx, e.api, assign, n)
		})
		if err != nil {
			return nil, err
		}
		e.assigned[assign] = n
		if used, err = cpuSeconds(e.controller.cmd.Process.Pid); err != nil {
			return nil, err
		}
		return []result{{
			Name: fmt.Sprintf("assign_%d", n), Value: float64(n) / took.Seconds(), Unit: "/s",
			Limit: float64(bare) / bareTime.Seconds(), LimitOf: "bare status patches", Goal: atLeast(0.8),
			Note: fmt.Sprintf("%.1f s from process start, %.1f s of CPU in the controller", took.Seconds(), used),
		}}, e.stopController()
	}
}

// patchWatched runs the bare loop with one watch on, as the measured run has.
func patchWatched(ctx context.Context, e *environment, name string, n int) error {
	seen := make(chan error, 1)
	go func() { seen <- awaitAssigned(ctx, e.api, name, n) }()
	return errors.Join(patchStatuses(ctx, e.api, name, n), <-seen)
}

// restart measures how long a new Service waits for its address when the controller
// has just restarted and must first take over 10 000 others.
func restart(ctx context.Context, e *environment) ([]result, error) {
	name, err := e.ensureAssigned(ctx, large)
	if err != nil {
		return nil, err
	}
	if err := createServices(ctx, e.api, "restart", "", 1); err != nil {
		return nil, err
	}
	e.say("restarting the controller with %d Services assigned and one new", large)
	took, err := timed(func() error {
		if err := e.startController(); err != nil {
			return err
		}
		return awaitAssigned(ctx, e.api, "restart", 1)
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
	if err := createServices(ctx, e.api, "memory", "", 1); err != nil {
		return nil, err
	}
	if err := e.startController(); err != nil {
		return nil, err
	}
	if err := awaitAssigned(ctx, e.api, "memory", 1); err != nil {
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
