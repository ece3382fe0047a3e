// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/internal/traffic"
	"github.com/herald-lb/herald/e2e/internal/wire"
)

const (
	drainMark = "example.org/drain"
	// served is how many addresses of each family are under load when nodes leave: 200
	// requests a second, and so many connections that stay open, for each.
	served      = 3
	requests    = 5 * time.Millisecond
	connections = 50
)

// repeatLeaving has all nodes leave and come back, one after the other, under load. It returns
// the requests that failed, and how often each connection broke: one that does is opened
// again.
func (w *world) repeatLeaving(ctx context.Context, fault string, addresses int) ([]result, error) {
	begin, leave := time.Now(), w.roll
	if fault == "drain" {
		leave = w.drainAll
	}
	if w.never() {
		fault += "_never"
	}
	name := func(what string) string {
		return fmt.Sprintf("%s_%s_nodes%d_addresses%d", fault, what, len(w.announcers), addresses)
	}
	failing := result{Name: name("failed"), MetalLB: "not measured"}
	breaking := result{Name: name("broken"), MetalLB: "not measured"}
	var failed, broken []float64
	asked := 0
	for range w.trials {
		c, err := w.leaveInTurn(ctx, leave)
		if err != nil {
			return nil, err
		}
		asked += c.Requests
		failed = append(failed, float64(len(c.Failed)))
		for _, n := range c.Breaks {
			broken = append(broken, float64(n))
		}
		failing.Late = max(failing.Late, milliseconds(c.Late))
		w.say("%s: %v", fault, c)
		for _, l := range slices.Concat(c.Failed, c.Broken) {
			w.say("  %v", l)
		}
	}
	failing.Seconds = time.Since(begin).Seconds()
	failing.Note = fmt.Sprintf("of %d requests", asked)
	breaking.Late, breaking.Seconds, breaking.Note = failing.Late, failing.Seconds, tally(broken)
	failing.judge(failed, "requests", 0)
	breaking.judge(broken, "times", 0)
	failing.Met, breaking.Met = failing.Max == 0, breaking.Max == 0 // not the 95th percentile
	return []result{failing, breaking}, nil
}

// tally says how many broke how often.
func tally(breaks []float64) string {
	counts := make(map[float64]int)
	for _, n := range breaks {
		counts[n]++
	}
	var words []string
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%.0f times: %d of them", n, counts[n]))
	}
	return strings.Join(words, ", ")
}

// leaveInTurn puts load on and has every node leave once.
func (w *world) leaveInTurn(ctx context.Context, leave func(context.Context) error) (traffic.Count, error) {
	w.home = nil
	if _, err := w.awaitSettled(ctx); err != nil {
		return traffic.Count{}, err
	}
	load := traffic.New(w.targets(), requests, connections)
	loaded, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { load.Run(loaded) })
	defer func() { cancel(); running.Wait() }()
	answered := func() error {
		since := time.Now()
		return await.Until(ctx, outage, 100*time.Millisecond, func() error { return load.Answered(since) })
	}
	if err := answered(); err != nil {
		return traffic.Count{}, fmt.Errorf("put load on: %w", err)
	}
	err := leave(ctx)
	if err == nil {
		_, err = w.awaitSettled(ctx)
	}
	if err == nil {
		err = answered() // what has broken is known by then
	}
	return load.Count(), err
}

// targets are what is under load.
func (w *world) targets() []traffic.Target {
	var targets []traffic.Target
	for _, addr := range w.some(served) {
		targets = append(targets, traffic.From(w.client, addr))
	}
	return targets
}

// roll replaces every speaker, as an upgrade does.
func (w *world) roll(ctx context.Context) error {
	if _, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "restart", "daemonset/speaker"); err != nil {
		return err
	}
	_, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", "daemonset/speaker", "--timeout=180s")
	return err
}

// drainAll drains every node, one after the other.
func (w *world) drainAll(ctx context.Context) error {
	for _, name := range w.announcers {
		if _, err := w.lab.Kubectl(ctx, "taint", "node", name, drainMark+"=:NoSchedule"); err != nil {
			return err
		}
		err := await.Until(ctx, settleLimit, 100*time.Millisecond, func() error { return w.gone(name) })
		if _, err2 := w.lab.Kubectl(ctx, "taint", "node", name, drainMark+"-"); errors.Join(err, err2) != nil {
			return errors.Join(err, err2)
		}
		if _, err := w.awaitSettled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gone is an error as long as a node answers for an address under load, or nobody does.
func (w *world) gone(node string) error {
	answers, err := wire.WhoHasEach(w.client.Netns(), lanLink, w.some(served), 60*time.Millisecond)
	if err != nil {
		return err
	}
	for addr, macs := range answers {
		if len(macs) != 1 || w.nodeOf[macs[0]] == node {
			return fmt.Errorf("%s, while %s is drained, is answered for by %v", addr, node, macs)
		}
	}
	return nil
}
