// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	// every and patience are those of the client: it connects every 10 ms, and waits
	// 50 ms for each answer.
	every    = 10 * time.Millisecond
	patience = 50 * time.Millisecond
	// probed is how many of a victim's addresses are probed at once. All of them are
	// taken over.
	probed = 4
	// before and after are how long the client is watched around a fault.
	before = 300 * time.Millisecond
	after  = 1200 * time.Millisecond
)

func measure(ctx context.Context, o options) (results []result, err error) {
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	dir, err := os.MkdirTemp("", "failover")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, o, dir, say)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lab.Close()) }()
	stop, err := w.burden(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	for _, family := range o.families {
		addresses, err := w.serve(ctx, family)
		if err != nil {
			return results, err
		}
		if o.soak > 0 {
			if _, _, err := w.victim(ctx, addresses); err != nil {
				return results, err
			}
			r, err := w.soak(ctx, family, addresses, o.soak)
			results = append(results, r)
			if err != nil {
				return results, err
			}
			continue
		}
		for _, fault := range o.faults {
			r, err := w.repeat(ctx, fault, family, addresses)
			if err != nil {
				return results, fmt.Errorf("%s, IPv%s: %w", fault, family, err)
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// burden loads the machine and the network as asked for.
func (w *world) burden(ctx context.Context) (stop func(), err error) {
	var loops []*exec.Cmd
	for range w.load {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			return nil, err
		}
		loops = append(loops, c)
	}
	for _, n := range w.lab.Nodes() {
		for _, link := range []string{"eth0", lanLink} {
			if err := w.lab.Lose(ctx, n.Name()+":"+link, w.loss); err != nil && w.loss > 0 {
				return nil, err
			}
		}
	}
	return func() {
		for _, c := range loops {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}, nil
}

// repeat does one fault many times.
func (w *world) repeat(ctx context.Context, fault, family string, addresses []netip.Addr) (result, error) {
	r := result{Name: fmt.Sprintf("failover_%s_ipv%s_nodes%d_addresses%d", fault, family, w.nodes, w.addresses), MetalLB: baseline(fault)}
	var gaps []float64
	for range w.trials {
		victim, targets, err := w.victim(ctx, addresses)
		if err != nil {
			return r, err
		}
		gap, late, err := w.trial(ctx, fault, victim, targets)
		if err != nil {
			return r, err
		}
		gaps = append(gaps, milliseconds(gap))
		r.Late = max(r.Late, milliseconds(late))
		w.say("%s: %s, %.0f ms", r.Name, victim.Name(), gaps[len(gaps)-1])
	}
	slices.Sort(gaps)
	r.Trials, r.P50, r.P95, r.Max = len(gaps), quantile(gaps, 0.5), quantile(gaps, 0.95), gaps[len(gaps)-1]
	r.Met = r.P95 <= goal
	return r, nil
}

// quantile is the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// victim returns a node that owns addresses, and some of them, once each of those is answered for by one node alone.
func (w *world) victim(ctx context.Context, addresses []netip.Addr) (*lab.Node, []netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const enough = 4 // the trial before is to be over
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	last, same := "", 0
	for {
		victim, targets, err := w.look(addresses)
		if same++; err != nil || victim != last {
			last, same = victim, 1
		}
		if err == nil && same >= enough {
			n, err := w.lab.Node(victim)
			return n, targets, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("find an owner: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

func (w *world) look(addresses []netip.Addr) (victim string, targets []netip.Addr, err error) {
	for _, a := range addresses {
		if len(targets) == probed {
			break
		}
		macs, err := wire.WhoHas(w.client.Netns(), lanLink, a, 50*time.Millisecond)
		if err != nil {
			return "", nil, err
		}
		if len(macs) != 1 {
			return "", nil, fmt.Errorf("%s is answered for by %v", a, macs)
		}
		owner := w.nodeOf[macs[0]]
		if victim != "" && owner != victim {
			continue
		}
		victim, targets = owner, append(targets, a)
	}
	return victim, targets, nil
}

// trial does a fault once, and returns the longest gap of any of the addresses, and how
// late the client was itself.
func (w *world) trial(ctx context.Context, fault string, victim *lab.Node, targets []netip.Addr) (gap, late time.Duration, err error) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var probes []*probe.Probe
	var group sync.WaitGroup
	for _, a := range targets {
		p := probe.New(every, patience, w.connect(a))
		probes = append(probes, p)
		group.Go(func() { p.Run(watching) })
	}
	if err := w.awaitAnswers(ctx, probes); err != nil {
		cancel()
		group.Wait()
		return 0, 0, err
	}
	undo, err := w.harm(ctx, fault, victim)
	pause(ctx, after)
	end := time.Now()
	cancel()
	group.Wait()
	for _, p := range probes {
		last, _ := p.Last() // what has not ended counts, too
		gap, late = max(gap, p.Longest().Length, end.Sub(last.At)), max(late, p.Late())
	}
	return gap, late, errors.Join(err, undo())
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

// awaitAnswers returns when the client has been answered for a while.
func (w *world) awaitAnswers(ctx context.Context, probes []*probe.Probe) error {
	const enough, limit = 20, 15 * time.Second
	begin := time.Now()
	for {
		pause(ctx, before)
		missing := 0
		for _, p := range probes {
			if len(p.Since(time.Now().Add(-before))) < enough {
				missing++
			}
		}
		switch {
		case missing == 0:
			return ctx.Err()
		case time.Since(begin) > limit:
			_, err := probes[0].Last()
			return fmt.Errorf("%d of %d addresses are not answered before the fault: %w", missing, len(probes), err)
		}
	}
}

// harm makes a fault, and returns how to undo it.
func (w *world) harm(ctx context.Context, fault string, victim *lab.Node) (undo func() error, err error) {
	name := victim.Name()
	nothing := func() error { return nil }
	switch fault {
	case "cut":
		return victim.Rejoin, victim.Isolate()
	case "kill":
		err := errors.Join(w.lab.Kill(name+"/speaker"), w.client.FlushNeighbors())
		return func() error { return w.awaitSpeaker(ctx, name) }, err
	case "freeze":
		frozen := []string{name + "/speaker", name + "/kube-proxy"}
		for _, target := range frozen {
			err = errors.Join(err, w.lab.Pause(target))
		}
		return func() error {
			var errs []error
			for _, target := range frozen {
				errs = append(errs, w.lab.Continue(target))
			}
			return errors.Join(errs...)
		}, errors.Join(err, w.client.FlushNeighbors())
	}
	return nothing, fmt.Errorf("fault %q: want cut, kill or freeze", fault)
}

// awaitSpeaker waits until the speaker that was killed is ready again.
func (w *world) awaitSpeaker(ctx context.Context, _ string) error {
	_, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", "daemonset/speaker", "--timeout=60s")
	return err
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
