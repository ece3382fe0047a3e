// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	// every and patience are those of the client: it connects every 10 ms, and waits
	// 50 ms for each answer.
	every    = 10 * time.Millisecond
	patience = 50 * time.Millisecond
	// probed is how many of a victim's addresses are probed at once, of each family. All
	// of them are taken over.
	probed = 2
	// calm is for how long a client has to be answered before a fault, and after it; watch
	// is how long it is watched at least.
	calm  = 300 * time.Millisecond
	watch = 500 * time.Millisecond
	// outage is how long a fault may last that nobody takes over from.
	outage = 10 * time.Second
)

// trial is one fault, once.
type trial struct {
	world   *world
	fault   string
	victim  *lab.Node
	targets []netip.Addr // those of its addresses that are probed
	probes  []*probe.Probe
}

// repeat does one fault many times, and returns a result for each family.
func (w *world) repeat(ctx context.Context, fault string, addresses int) ([]result, error) {
	begin := time.Now()
	gaps := make(map[string][]float64)
	late := make(map[string]time.Duration)
	for i := range w.trials {
		t, err := w.prepare(ctx, fault, i)
		if err != nil {
			return nil, err
		}
		if err := t.run(ctx); err != nil {
			return nil, fmt.Errorf("trial %d: %w", i+1, err)
		}
		for _, family := range w.families {
			gap, l := t.gap(family)
			gaps[family] = append(gaps[family], milliseconds(gap))
			late[family] = max(late[family], l)
			w.say("%s, IPv%s, %d nodes, %d addresses: %s, %.0f ms", fault, family, len(w.announcers), addresses, t.victim.Name(), milliseconds(gap))
		}
	}
	var results []result
	for _, family := range w.families {
		r := result{
			Name:    fmt.Sprintf("failover_%s_ipv%s_nodes%d_addresses%d", fault, family, len(w.announcers), addresses),
			MetalLB: baseline(fault), Late: milliseconds(late[family]), Seconds: time.Since(begin).Seconds(),
		}
		r.judge(gaps[family], "ms", gapGoal)
		results = append(results, r)
	}
	return results, nil
}

// prepare waits until the last fault is over and chooses the victim of the next: whoever owns
// the addresses of one Service, each time another.
func (w *world) prepare(ctx context.Context, fault string, turn int) (*trial, error) {
	owners, err := w.awaitSettled(ctx)
	if err != nil {
		return nil, err
	}
	w.home = owners
	t := &trial{world: w, fault: fault}
	all := w.addresses[w.families[0]]
	victim := owners[all[turn%min(len(all), asked)]]
	if t.victim, err = w.lab.Node(victim); err != nil {
		return nil, err
	}
	for _, family := range w.families {
		n := 0
		for _, addr := range w.addresses[family] {
			if n < probed && owners[addr] == victim {
				n++
				t.targets = append(t.targets, addr)
			}
		}
		if n == 0 {
			return nil, fmt.Errorf("%s owns no IPv%s address", victim, family)
		}
	}
	return t, nil
}

// run watches, harms, and undoes the harm when the client is served again.
func (t *trial) run(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	stop := func() { cancel(); group.Wait() }
	defer stop()
	for _, addr := range t.targets {
		p := probe.New(every, patience, t.world.connect(addr))
		t.probes = append(t.probes, p)
		group.Go(func() { p.Run(watching) })
	}
	if err := t.awaitAnswers(ctx, 0); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	undo, err := t.harm(ctx)
	if err != nil {
		return errors.Join(err, undo())
	}
	err = t.awaitAnswers(ctx, watch)
	stop()
	return errors.Join(err, t.checkMoved(), undo())
}

// gap returns the longest time without an answer of any address of a family, and how late
// the client was itself.
func (t *trial) gap(family string) (gap, late time.Duration) {
	for i, p := range t.probes {
		if familyOf(t.targets[i]) == family {
			gap, late = max(gap, p.Longest().Length), max(late, p.Late())
		}
	}
	return gap, late
}

// checkMoved is an error if the fault had no effect.
func (t *trial) checkMoved() error {
	answers, err := wire.WhoHasEach(t.world.client.Netns(), lanLink, t.targets, 60*time.Millisecond)
	if err != nil {
		return err
	}
	for i, addr := range t.targets {
		macs := answers[addr]
		stayed := len(macs) == 1 && t.world.nodeOf[macs[0]] == t.victim.Name()
		if stayed && t.probes[i].Longest().Length < 2*patience {
			return fmt.Errorf("%s stayed on %s: the fault had no effect", addr, t.victim.Name())
		}
	}
	return nil
}

func (w *world) connect(a netip.Addr) probe.Ask {
	target := netip.AddrPortFrom(a, 80).String()
	return func(ctx context.Context) (string, error) {
		conn, err := w.client.Dial(ctx, "tcp", target)
		if err != nil {
			return "", err
		}
		return "", conn.Close()
	}
}

// awaitAnswers returns when the client has been answered for a while, not before least has
// passed.
func (t *trial) awaitAnswers(ctx context.Context, least time.Duration) error {
	const enough = 20
	begin := time.Now()
	await.Pause(ctx, least)
	for {
		await.Pause(ctx, calm)
		missing := netip.Addr{}
		for i, p := range t.probes {
			if len(p.Since(time.Now().Add(-calm))) < enough {
				missing = t.targets[i]
			}
		}
		switch {
		case !missing.IsValid():
			return ctx.Err()
		case time.Since(begin) > outage:
			return t.explain(missing)
		}
	}
}

// explain says what is known of an address that nobody serves.
func (t *trial) explain(addr netip.Addr) error {
	w := t.world
	macs, err := wire.WhoHas(w.client.Netns(), lanLink, addr, 100*time.Millisecond)
	seen, err2 := w.client.MACOf(addr)
	return fmt.Errorf("%s is not answered for %s; victim %s; on the LAN %v answer (error %w); the client has it at %s %v (error %w)",
		addr, outage, t.victim.Name(), macs, err, w.nodeOf[seen.String()], seen, err2)
}
