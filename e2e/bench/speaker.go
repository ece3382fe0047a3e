// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// speakerMemory measures a speaker that announces 10 000 addresses, each of a
// Service with one EndpointSlice of three endpoints.
func speakerMemory(ctx context.Context, e *environment) ([]result, error) {
	pid, err := e.announce(ctx, large)
	if err != nil {
		return nil, err
	}
	used, err := cpuSeconds(pid)
	if err != nil {
		return nil, err
	}
	// It knows less than it will until it has written a status for each Service.
	const calm = 5 * time.Second
	if _, err := idleShare(ctx, pid, calm); err != nil {
		return nil, err
	}
	now, peak, err := settledMemory(ctx, pid)
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: "speaker_rss_10000", Value: now, Unit: "MB", Goal: atMost(90),
		Note: fmt.Sprintf("peak %.0f MB, %.1f s of CPU until it answers; MetalLB 287 MB, 24 s", peak, used),
	}}, nil
}

// announce brings the environment to a speaker that answers for n addresses, and
// returns its process.
func (e *environment) announce(ctx context.Context, n int) (pid int, err error) {
	return e.announceAll(ctx, singleStack(n))
}

// announceAll brings the environment to a speaker that answers for all addresses of a
// fleet, and returns its process.
func (e *environment) announceAll(ctx context.Context, f fleet) (pid int, err error) {
	if err := e.ensureAllAssigned(ctx, f); err != nil {
		return 0, err
	}
	if e.sliced[f.namespace] != f.size {
		e.say("creating %d EndpointSlices", f.size)
		if err := createSlices(ctx, e.api, f.namespace, nodeName, f.size); err != nil {
			return 0, err
		}
		e.sliced[f.namespace] = f.size
	}
	if err := e.ensureGossipKey(ctx); err != nil {
		return 0, err
	}
	if pid, err = e.startSpeaker(ctx); err != nil {
		return 0, err
	}
	return pid, e.awaitAnswers(ctx, f.namespace)
}

// arp measures how many ARP requests for random ones of 10 000 addresses the speaker
// answers, beside the kernel answering for its own address on the same interface.
func arp(ctx context.Context, e *environment) ([]result, error) {
	return e.answers(ctx, "arp", singleStack(large), clientAddress, nodeAddress)
}

// ndp is arp by neighbor solicitations for IPv6 addresses.
func ndp(ctx context.Context, e *environment) ([]result, error) {
	return e.answers(ctx, "ndp", dualStack(large), clientAddress6, nodeAddress6)
}

// answers measures how many requests for random addresses of a fleet the speaker answers,
// when the client has one of its addresses, beside the kernel answering for the node's.
func (e *environment) answers(ctx context.Context, protocol string, f fleet, client, node netip.Addr) ([]result, error) {
	pid, err := e.announceAll(ctx, f)
	if err != nil {
		return nil, err
	}
	const calm = 5 * time.Second
	if _, err := idleShare(ctx, pid, calm); err != nil { // the start has consequences that keep both cores busy
		return nil, err
	}
	addresses, err := e.addresses(ctx, f.namespace)
	if err != nil {
		return nil, err
	}
	addresses = familyOf(client, addresses)
	var results []result
	for _, window := range []int{1, 32} {
		e.say("asking by %s with %d requests outstanding", protocol, window)
		limit, err := e.ask(client, []netip.Addr{node}, window)
		if err != nil {
			return nil, err
		}
		herald, err := e.ask(client, addresses, window)
		if err != nil {
			return nil, err
		}
		lost := ""
		if len(herald.unanswered)+len(limit.unanswered) > 0 {
			lost = fmt.Sprintf("; %d unanswered (kernel %d)", len(herald.unanswered), len(limit.unanswered))
		}
		results = append(results, result{
			Name: fmt.Sprintf("%s_rate_%d", protocol, window), Value: herald.rate(), Unit: "/s",
			Limit: limit.rate(), LimitOf: "kernel", Goal: atLeast(0.5),
			Note: fmt.Sprintf("p99 %s, kernel %s%s", herald.quantile(0.99), limit.quantile(0.99), lost),
		})
		if window == 1 { // requests that wait for each other say nothing of one
			results = append(results, result{
				Name: protocol + "_p50_1", Value: microseconds(herald.quantile(0.5)), Unit: "us",
				Limit: microseconds(limit.quantile(0.5)), LimitOf: "kernel", Goal: atMost(3),
			})
		}
	}
	return results, nil
}

// ask runs one closed loop from the client, which has an address of the same family.
func (e *environment) ask(self netip.Addr, addresses []netip.Addr, window int) (loop, error) {
	client, err := e.lab.Client(clientName)
	if err != nil {
		return loop{}, err
	}
	var measured loop
	err = client.Netns().Enter(func() error {
		measured, err = closedLoop(linkName, self, addresses, window, 3*time.Second)
		return err
	})
	return measured, err
}

// settledMemory returns the memory of a process once it has stopped growing and
// shrinking: three readings in a row, two seconds apart, within 2 %.
func settledMemory(ctx context.Context, pid int) (now, peak float64, err error) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for last, same := 0.0, 0; same < 3; last = now {
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-tick.C:
		}
		if now, peak, err = memory(pid); err != nil {
			return 0, 0, err
		}
		if same++; math.Abs(now-last) > now*0.02 {
			same = 0
		}
	}
	return now, peak, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
