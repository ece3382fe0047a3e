// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// changeName is the namespace of the Service that comes and goes.
const changeName = "routed-change"

// changes are what single Services have cost.
type changes struct {
	e       *environment
	routers []*router
	taps    []*tap
	took    []time.Duration // from the request to the table of each router
	sent    []int           // UPDATEs to each router
}

// oneChange measures how long it takes until both routers have the prefix of one more
// Service, and until they have it no longer, with 10 000 others there. The time runs from
// the request to the API server. It counts the UPDATEs that each is sent.
func oneChange(ctx context.Context, e *environment) (_ []result, err error) {
	const turns = 10
	routers, err := e.speakingTo(ctx, 1)
	if err != nil {
		return nil, err
	}
	c := changes{e: e, routers: routers}
	for _, r := range routers {
		t, err := tapRouter(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, t.close()) }()
		c.taps = append(c.taps, t)
	}
	e.say("one Service comes and goes, %d times", turns)
	for range turns {
		if err := c.comeAndGo(ctx); err != nil {
			return nil, err
		}
	}
	slices.Sort(c.took)
	least, most := slices.Min(c.sent), slices.Max(c.sent)
	return []result{{
		Name: "bgp_change_10000", Value: milliseconds(c.took[len(c.took)-1]), Unit: "ms", Goal: atMost(100),
		Note: fmt.Sprintf("the longest of %d, p50 %.1f ms, from the request to the API server to the router's table", len(c.took), milliseconds(c.took[len(c.took)/2])),
	}, {
		Name: "bgp_change_updates", Value: float64(most), Unit: "UPDATEs", Goal: atMost(1),
		Note: fmt.Sprintf("the most to one router for one change, on its cable; the fewest %d", least),
	}}, nil
}

// speakingTo brings the environment to a speaker that has announced 10 000 prefixes in so
// many sessions with each router.
func (e *environment) speakingTo(ctx context.Context, sessions int) (routers []*router, err error) {
	if err := errors.Join(e.stopSpeaker(ctx), e.ensureRouted(ctx, large), e.ensureGossipKey(ctx)); err != nil {
		return nil, err
	}
	for _, name := range []string{"frr", "bird"} {
		r, err := e.router(ctx, name)
		if err != nil {
			return nil, err
		}
		routers = append(routers, r)
	}
	if err := e.givenPeers(ctx, sessions, routers...); err != nil {
		return nil, err
	}
	if _, err := e.startSpeaker(ctx); err != nil {
		return nil, err
	}
	for _, r := range routers {
		if _, err := r.await(ctx, large); err != nil {
			return nil, err
		}
	}
	return routers, e.awaitIdleSpeaker(ctx)
}

// awaitIdleSpeaker waits until the statuses of a start are written.
func (e *environment) awaitIdleSpeaker(ctx context.Context) error {
	pid, err := e.lab.PID(nodeName + "/speaker")
	if err != nil {
		return err
	}
	_, err = idleShare(ctx, pid, 2*time.Second)
	return err
}

// comeAndGo has a Service come, get an address, and go.
func (c *changes) comeAndGo(ctx context.Context) error {
	f := fleet{namespace: changeName, size: 1}
	services := c.e.api.CoreV1().Services(changeName)
	if err := f.create(ctx, c.e.api); err != nil {
		return err
	}
	if err := createSlices(ctx, c.e.api, changeName, nodeName, 1); err != nil {
		return err
	}
	prefix := routedPrefix(1<<17 - 1) // the last there is
	status := fmt.Appendf(nil, `{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"bench"}},`+
		`"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, prefix.Addr())
	err := c.change(ctx, prefix, true, func() error {
		_, err := services.Patch(ctx, serviceName(0), types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
		return err
	})
	if err != nil {
		return err
	}
	return c.change(ctx, prefix, false, func() error {
		return services.Delete(ctx, serviceName(0), metav1.DeleteOptions{})
	})
}

// change makes a change and waits until it is in all routers' tables, and then until
// nothing more would come.
func (c *changes) change(ctx context.Context, p netip.Prefix, there bool, request func() error) error {
	const calm = 500 * time.Millisecond
	for _, t := range c.taps {
		t.forget()
	}
	type outcome struct {
		at  time.Time
		err error
	}
	outcomes := make(chan outcome, len(c.routers))
	begin := time.Now()
	for _, r := range c.routers {
		go func() {
			at, err := r.awaitOne(ctx, p, there)
			outcomes <- outcome{at, err}
		}()
	}
	err := request()
	for range c.routers {
		o := <-outcomes
		err = errors.Join(err, o.err)
		c.took = append(c.took, o.at.Sub(begin))
	}
	if err = errors.Join(err, sleep(ctx, calm)); err != nil {
		return err
	}
	for i, t := range c.taps {
		c.sent = append(c.sent, t.updates(c.routers[i].address))
	}
	return nil
}

// idleRoutes measures what a speaker costs that has announced 10 000 prefixes in four
// sessions, and has nothing to do.
func idleRoutes(ctx context.Context, e *environment) ([]result, error) {
	if _, err := e.speakingTo(ctx, 2); err != nil {
		return nil, err
	}
	pid, err := e.lab.PID(nodeName + "/speaker")
	if err != nil {
		return nil, err
	}
	e.say("watching the speaker do nothing")
	idle, err := idleShare(ctx, pid, 15*time.Second)
	if err != nil {
		return nil, err
	}
	now, peak, err := settledMemory(ctx, pid)
	if err != nil {
		return nil, err
	}
	return []result{
		{Name: "bgp_idle_cpu", Value: idle * 100, Unit: "% of a core", Goal: atMost(1), Note: "10 000 prefixes, 4 sessions"},
		{Name: "bgp_rss", Value: now, Unit: "MB", Note: fmt.Sprintf("peak %.0f MB; 10 000 prefixes, 4 sessions", peak)},
	}, nil
}
