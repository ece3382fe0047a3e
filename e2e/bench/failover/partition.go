// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/internal/wire"
)

const (
	// curiosity is the time between two questions of the client's side for one address, and
	// heard is how many addresses it asks for, of each family.
	curiosity = 20 * time.Millisecond
	heard     = 20
	// divided is for how long a partition lasts: gossip has taken the others for dead.
	divided = 4 * time.Second
	// quiet is for how long an address has to have one voice for a healing to be over, and
	// healing is how long that may take.
	quiet   = time.Second
	healing = 20 * time.Second
)

// repeatPartition divides the LAN many times, and measures for how long after the beginning of
// the command that heals it more than one node answers, for the worst of all addresses.
func (w *world) repeatPartition(ctx context.Context, fault string, addresses int) (result, error) {
	begin := time.Now()
	r := result{
		Name:    fmt.Sprintf("heal_%s_nodes%d_addresses%d", fault, len(w.announcers), addresses),
		MetalLB: "not measured",
	}
	var discords []float64
	doubled := 0
	for i := range w.trials {
		owners, err := w.awaitSettled(ctx)
		if err != nil {
			return r, err
		}
		w.home = owners
		discord, twice, err := w.divide(ctx, fault, i)
		if err != nil {
			return r, fmt.Errorf("trial %d: %w", i+1, err)
		}
		discords, doubled = append(discords, milliseconds(discord)), doubled+twice
		w.say("%s: %d addresses with two answers, then for %.0f ms", r.Name, twice, milliseconds(discord))
	}
	r.judge(discords, "ms", discordGoal)
	r.Seconds = time.Since(begin).Seconds()
	r.Note = fmt.Sprintf("%d addresses had two answers while divided", doubled)
	if doubled == 0 {
		return r, errors.New("no address had two answers: nothing is shown")
	}
	return r, nil
}

// divide divides the LAN once and heals it. Twice is how many addresses had two answers when it
// was healed.
func (w *world) divide(ctx context.Context, fault string, turn int) (discord time.Duration, twice int, err error) {
	addrs := w.some(heard)
	chorus := new(wire.Chorus)
	stop, err := w.listen(ctx, chorus, addrs)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := w.separate(ctx, fault, turn); err != nil {
		return 0, 0, errors.Join(err, w.lab.Heal(ctx))
	}
	await.Pause(ctx, divided)
	late := time.Now().Add(-quiet / 2)
	for _, addr := range addrs {
		if len(chorus.Voices(addr, late)) > 1 {
			twice++
		}
	}
	healed := time.Now()
	if err := w.lab.Heal(ctx); err != nil {
		return 0, 0, err
	}
	err = await.Until(ctx, healing, quiet/4, func() error {
		for _, addr := range addrs {
			if time.Since(healed) < quiet {
				return errors.New("it has just been healed")
			}
			if voices := chorus.Voices(addr, time.Now().Add(-quiet)); len(voices) != 1 {
				return fmt.Errorf("%s is answered for by %v", addr, voices)
			}
		}
		return nil
	})
	for _, addr := range addrs {
		d, by := chorus.Discord(addr, healed)
		if d > discordGoal*time.Millisecond {
			w.say("%s: %s answered for %.0f ms beside another", addr, w.nodeOf[by], milliseconds(d))
		}
		discord = max(discord, d)
	}
	return discord, twice, err
}

// separate makes the fault: the first half of the nodes on one side, and the other half, with
// the node that has the backend, on the other. With oneway, one side is not heard and the other
// does not hear, in turns.
func (w *world) separate(ctx context.Context, fault string, turn int) error {
	half := len(w.announcers) / 2
	one, other := w.announcers[:half], append(w.announcers[half:len(w.announcers):len(w.announcers)], w.backend)
	switch {
	case fault == "partition":
		return w.lab.Partition(ctx, one, other)
	case turn%2 == 0:
		return w.lab.Silence(ctx, one, other)
	}
	return w.lab.Silence(ctx, other, one)
}

// some returns so many addresses of each family, or all.
func (w *world) some(n int) (addrs []netip.Addr) {
	for _, family := range w.families {
		all := w.addresses[family]
		addrs = append(addrs, all[:min(n, len(all))]...)
	}
	return addrs
}

// listen asks for the addresses all the time, and hears all answers on the client's link, until
// it is stopped.
func (w *world) listen(ctx context.Context, chorus *wire.Chorus, addrs []netip.Addr) (stop func() error, err error) {
	tap, err := w.client.Capture(lanLink)
	if err != nil {
		return nil, err
	}
	listening, cancel := context.WithCancel(ctx)
	group, listening := errgroup.WithContext(listening)
	group.Go(func() error {
		return wire.KeepAsking(listening, w.client.Netns(), lanLink, addrs, curiosity)
	})
	group.Go(func() error {
		return chorus.Listen(listening, func(ctx context.Context) (time.Time, []byte, error) {
			frame, err := tap.Next(ctx)
			return frame.Time, frame.Bytes, err
		})
	})
	return func() error {
		cancel()
		return errors.Join(group.Wait(), tap.Close())
	}, nil
}
