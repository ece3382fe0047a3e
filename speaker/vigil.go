// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/gossip"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/vigil"
)

// speakers are what the other speakers are watched with.
type speakers struct {
	loop    *announce.Loop // set before Run
	members *gossip.Members
	facts   *announce.Facts
	bfd     *bfd.Sessions
	vigil   *vigil.Vigil
}

// newSpeakers returns nil if gossip is off.
func newSpeakers(f *flags, lan *layer2.Announcer, log *slog.Logger, reg prometheus.Registerer) (*speakers, error) {
	if !f.gossip.Bind.IsValid() {
		return nil, nil
	}
	w := new(speakers)
	config := f.gossip
	config.Leaving = w
	w.facts = announce.NewFacts(lb.NodeName(f.node))
	config.Facts = w.facts
	members, err := gossip.New(config, log, reg)
	if err != nil {
		return nil, err
	}
	w.members = members
	// Sessions report to the vigil, which sets sessions: neither is there before the other.
	onChange := func(c bfd.Change) { w.vigil.OnChange(c) }
	w.bfd = bfd.New(bfd.Options{Log: log.With("peers", "speakers"), OnChange: onChange, Port: f.watchPort, Together: true})
	w.vigil = vigil.New(vigil.Config{
		Node: lb.NodeName(f.node), Address: f.gossip.Bind, Interval: f.watchInterval,
		Gossip: members, BFD: w.bfd, LAN: patientLAN{lan, w}, Log: log, Registerer: reg,
	})
	return w, nil
}

// gossip takes part once the loop knows what there is to announce: others take a member
// for one that can be relied on.
func (w *speakers) gossip(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.loop.Synced():
		return w.members.Run(ctx)
	}
}

// Depart hands over all that this node announces.
func (w *speakers) Depart() (wait func()) { return w.loop.Depart() }

// patientLAN leaves it to the loop when this node, heard again, announces again.
type patientLAN struct {
	*layer2.Announcer
	speakers *speakers
}

// Renew announces all addresses again.
func (p patientLAN) Renew() { p.speakers.loop.Renew() }

// selfCheck returns what asks whether other speakers answer, unless that is turned off.
func selfCheck(f *flags, loop *announce.Loop, lan *layer2.Announcer) []run.Task {
	if f.selfcheckInterval == 0 {
		return nil
	}
	check := announce.NewSelfCheck(announce.SelfCheckConfig{
		Interval: f.selfcheckInterval, Pace: f.selfcheckPace,
		Loop: loop, LAN: lan, Inventory: loop.Inventory, Events: loop.Events, Log: loop.Log,
	})
	loop.Registerer.MustRegister(check)
	return []run.Task{{Name: "self-check", Run: check.Run}}
}
