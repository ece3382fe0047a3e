// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
)

// createRate measures how fast Services can be created while the controller gives
// addresses to them, beside the same without a controller. The two take turns, because
// the machine is not the same all the time.
func createRate(ctx context.Context, e *environment) ([]result, error) {
	const (
		turns = 3
		size  = 600
	)
	var with, without, lag float64
	for turn := range turns {
		alone := fleet{namespace: fmt.Sprintf("create-alone-%d", turn), size: size, class: bareClass}
		e.say("creating %d Services without the controller", size)
		took, err := timed(func() error { return alone.create(ctx, e.api) })
		if err != nil {
			return nil, err
		}
		without += took.Seconds()
		// Cluster IPs that are in use slow down the API server (see seed).
		if err := errors.Join(e.drop(ctx, alone.namespace), e.startLeading(ctx, "create-try")); err != nil {
			return nil, err
		}
		e.say("creating %d Services with the controller", size)
		served := fleet{namespace: fmt.Sprintf("create-%d", turn), size: size}
		took, err = timed(func() error { return served.create(ctx, e.api) })
		if err != nil {
			return nil, err
		}
		with += took.Seconds()
		took, err = timed(func() error { return served.await(ctx, e.api, assigned) })
		if err != nil {
			return nil, err
		}
		lag += took.Seconds()
		if err := errors.Join(e.awaitQuiet(ctx), e.stopController(), e.drop(ctx, served.namespace)); err != nil {
			return nil, err
		}
	}
	return []result{{
		Name: "create", Value: turns * size / with, Unit: "/s",
		Limit: turns * size / without, LimitOf: "without the controller", Goal: atLeast(0.8),
		Note: fmt.Sprintf("%d clients; the last address comes %.1f s after the last Service; MetalLB 0.11", creators, lag/turns),
	}}, nil
}
