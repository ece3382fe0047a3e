// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// routedPool is what Services that are announced by BGP have their addresses from. Nothing
// but a BGPAdvertisement is for it: ARP is not what is measured.
const routedPool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bench, namespace: metallb-system}
spec: {addresses: [198.18.0.0/15]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bench, namespace: metallb-system}
`

// routedMeasurements are those that need routers. They have the number of Services grow.
func routedMeasurements() []measurement {
	return []measurement{
		{"bgp_frr_1000", tableTime("frr", small)},
		{"bgp_bird_1000", tableTime("bird", small)},
		{"bgp_frr_10000", tableTime("frr", large)},
		{"bgp_bird_10000", tableTime("bird", large)},
		{"bgp_change_10000", oneChange},
		{"bgp_idle_10000", idleRoutes},
		{"bgp_frr_50000", tableTime("frr", huge)},
		{"bgp_bird_50000", tableTime("bird", huge)},
	}
}

// router returns the router of that name, ready to be asked.
func (e *environment) router(ctx context.Context, name string) (r *router, err error) {
	if r := e.routers[name]; r != nil {
		return r, nil
	}
	switch name {
	case "frr":
		r, err = dialFRR(e.lab)
	default:
		r, err = startBIRD(ctx, e.lab)
	}
	if err != nil {
		return nil, err
	}
	if e.routers == nil {
		e.routers = map[string]*router{}
	}
	e.routers[name] = r
	return r, nil
}

// givenPeers has the speakers know these sessions, and no other: with each router as many
// as it says.
func (e *environment) givenPeers(ctx context.Context, sessions int, routers ...*router) error {
	if _, err := e.lab.Kubectl(ctx, "-n", namespace, "delete", "bgppeers", "--all"); err != nil {
		return err
	}
	var manifest strings.Builder
	for _, r := range routers {
		for i := range sessions {
			fmt.Fprintf(&manifest, `---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s-%d, namespace: metallb-system}
spec: {myASN: %d, peerASN: %d, peerAddress: %s, sourceAddress: %s, connectTime: 1s}
`, r.Name(), i, nodeASN, r.asn, r.address, r.sources[i])
		}
	}
	return e.lab.Apply(ctx, manifest.String())
}

// tableRun is how long one table took.
type tableRun struct {
	total  time.Duration // since the process started
	fromUp time.Duration // since the session was Established, on the wire
	sent   int           // UPDATEs
	cpu    time.Duration
	peak   float64 // resident memory in megabytes
}

// tableTime measures how long a router waits for the prefixes of n Services from the start
// of the speaker, beside gobgp alone, which has been told of them and knows no Kubernetes.
// They take turns.
//
// Both are measured from the start of the process to the last prefix in the router's table,
// and speak of the same prefixes to the same router from the same address. gobgp waits for
// one to two seconds before it dials: alone it does nothing meanwhile, and Herald reads.
// Alone it has no relay and no policy, and dials once its table is full.
//
// Processor time, which a busy machine changes less, is set beside what gobgp alone and a
// bare list of the same objects need together. The router's and the API server's are not
// in it.
//
// How long gobgp waits is a matter of chance. The fewer the prefixes, the more that counts.
func tableTime(name string, n int) func(context.Context, *environment) ([]result, error) {
	turns := 4
	if n == huge {
		turns = 2
	}
	return func(ctx context.Context, e *environment) ([]result, error) {
		r, err := e.readyForTable(ctx, name, n)
		if err != nil {
			return nil, err
		}
		var herald, alone []tableRun
		var read []readRun
		for range turns {
			e.say("announcing %d prefixes to %s by gobgp alone", n, name)
			run, err := e.runTable(ctx, r, n, e.runAlone)
			if err != nil {
				return nil, err
			}
			alone = append(alone, run)
			e.say("%s; announcing them by Herald", run)
			if run, err = e.runTable(ctx, r, n, e.runHerald); err != nil {
				return nil, err
			}
			e.say("%s", run)
			herald = append(herald, run)
			bare, err := e.runRead(ctx)
			if err != nil {
				return nil, err
			}
			read = append(read, bare)
		}
		return tableResults(fmt.Sprintf("bgp_%s_%d", name, n), mean(herald), mean(alone), meanRead(read)), nil
	}
}

func (t tableRun) String() string {
	return fmt.Sprintf("%.2f s, %.2f s from Established, %d UPDATEs, %.2f s of CPU", t.total.Seconds(), t.fromUp.Seconds(), t.sent, t.cpu.Seconds())
}

func (e *environment) readyForTable(ctx context.Context, name string, n int) (*router, error) {
	if err := errors.Join(e.stopSpeaker(ctx), e.ensureGossipKey(ctx)); err != nil {
		return nil, err
	}
	if e.routed == 0 {
		// The first to ask for objects of a kind has the API server make a cache of them.
		_, err := e.startSpeaker(ctx)
		if err := errors.Join(err, e.stopSpeaker(ctx)); err != nil {
			return nil, err
		}
	}
	if err := e.ensureRouted(ctx, n); err != nil {
		return nil, err
	}
	r, err := e.router(ctx, name)
	if err != nil {
		return nil, err
	}
	return r, e.givenPeers(ctx, 1, r)
}

func mean(runs []tableRun) (m tableRun) {
	for _, r := range runs {
		m.total += r.total / time.Duration(len(runs))
		m.fromUp += r.fromUp / time.Duration(len(runs))
		m.cpu += r.cpu / time.Duration(len(runs))
		m.sent += r.sent
		m.peak = max(m.peak, r.peak)
	}
	m.sent /= len(runs)
	return m
}

func meanRead(runs []readRun) (m readRun) {
	for _, r := range runs {
		m.total += r.total / time.Duration(len(runs))
		m.cpu += r.cpu / time.Duration(len(runs))
	}
	return m
}

func tableResults(name string, herald, alone tableRun, read readRun) []result {
	return []result{{
		Name: name, Value: herald.total.Seconds(), Unit: "s", Limit: alone.total.Seconds(), LimitOf: "gobgp alone", Goal: atMost(1.5),
		Note: fmt.Sprintf("from process start; a bare list of the objects %.2f s; peak RSS %.0f MB, gobgp alone %.0f MB", read.total.Seconds(), herald.peak, alone.peak),
	}, {
		Name: name + "_up", Value: herald.fromUp.Seconds(), Unit: "s", Limit: alone.fromUp.Seconds(), LimitOf: "gobgp alone",
		Note: fmt.Sprintf("from Established; %d UPDATEs, gobgp alone %d", herald.sent, alone.sent),
	}, {
		Name: name + "_cpu", Value: herald.cpu.Seconds(), Unit: "s", Limit: (alone.cpu + read.cpu).Seconds(), LimitOf: "gobgp alone and a bare list",
		Note: fmt.Sprintf("gobgp alone %.2f s, the list %.2f s", alone.cpu.Seconds(), read.cpu.Seconds()),
	}}
}

// runTable measures one start of what run starts. run returns its process and how to end it.
func (e *environment) runTable(ctx context.Context, r *router, n int, run starter) (t tableRun, err error) {
	if _, err := r.await(ctx, 0); err != nil {
		return t, err
	}
	listening, err := tapRouter(ctx, r)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, listening.close()) }()
	type outcome struct {
		at  time.Time
		err error
	}
	full := make(chan outcome, 1)
	go func() {
		at, err := r.await(ctx, n)
		full <- outcome{at, err}
	}()
	pid, stop, err := run(ctx, r, n)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	there := <-full
	if there.err != nil {
		return t, there.err
	}
	began, err := startOf(pid)
	if err != nil {
		return t, err
	}
	if t.cpu, err = cpuTime(pid); err != nil {
		return t, err
	}
	if _, t.peak, err = memory(pid); err != nil {
		return t, err
	}
	t.total, t.fromUp = there.at.Sub(began), there.at.Sub(listening.established(r.address))
	t.sent = listening.updates(r.address)
	return t, nil
}

// starter starts what announces n prefixes to a router.
type starter func(ctx context.Context, r *router, n int) (pid int, stop func() error, err error)

func (e *environment) runHerald(ctx context.Context, _ *router, _ int) (int, func() error, error) {
	pid, err := e.startSpeaker(ctx)
	return pid, func() error { return e.stopSpeaker(ctx) }, err
}

func (e *environment) runAlone(ctx context.Context, r *router, n int) (int, func() error, error) {
	node, err := e.lab.Node(nodeName)
	if err != nil {
		return 0, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	cmd := node.Command(context.WithoutCancel(ctx), self, aloneWord,
		r.sources[0], r.address.String(), strconv.FormatUint(uint64(r.asn), 10), strconv.Itoa(n))
	in, err := cmd.StdinPipe() // closed with this process, if not before
	if err != nil {
		return 0, nil, err
	}
	p, err := start(aloneWord, cmd)
	if err != nil {
		return 0, nil, err
	}
	return cmd.Process.Pid, func() error { return errors.Join(in.Close(), <-p.exited) }, nil
}
