// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/internal/await"
)

// others begins the addresses of the LAN that belong to nobody; it has as many as the
// pool.
var others = netip.MustParsePrefix("10.200.128.0/18")

// arpOthers measures what the speaker spends while the LAN is loud with ARP requests
// that are none of its business, beside what it spends without them.
func arpOthers(ctx context.Context, e *environment) ([]result, error) {
	const (
		rate   = 50_000
		during = 5 * time.Second
	)
	pid, err := e.announce(ctx, large)
	if err != nil {
		return nil, err
	}
	client, err := e.lab.Client(clientName)
	if err != nil {
		return nil, err
	}
	idle, err := idleShare(ctx, pid, during)
	if err != nil {
		return nil, err
	}
	e.say("asking by ARP for addresses of others, %d times a second", rate)
	asked := 0
	busy, err := share(pid, func() error {
		return client.Netns().Enter(func() error {
			asked, err = flood(ctx, linkName, clientAddress, others, rate, during)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: "arp_others_cpu", Value: busy * 100, Unit: "% of a core", Goal: atMost(5),
		Note: fmt.Sprintf("%.0f requests a second; %.1f %% without them", float64(asked)/during.Seconds(), idle*100),
	}}, nil
}

// share returns the part of a core that a process uses while something goes on.
func share(pid int, during func() error) (float64, error) {
	begin := time.Now()
	before, err := cpuSeconds(pid)
	if err != nil {
		return 0, err
	}
	if err := during(); err != nil {
		return 0, err
	}
	after, err := cpuSeconds(pid)
	return (after - before) / time.Since(begin).Seconds(), err
}

// idleShare returns the part of a core that a process uses when it has nothing to do
// but what it does all the time. A start has costs of its own that last: the statuses of
// ten thousand Services are written over minutes. So it waits for a quiet time, and gives
// the last figure if there is none.
func idleShare(ctx context.Context, pid int, during time.Duration) (idle float64, err error) {
	const (
		quiet    = 0.02
		patience = 3 * time.Minute
	)
	for begin := time.Now(); time.Since(begin) < patience; {
		idle, err = share(pid, func() error { return sleep(ctx, during) })
		if err != nil || idle < quiet {
			break
		}
	}
	return idle, err
}

func sleep(ctx context.Context, d time.Duration) error {
	await.Pause(ctx, d)
	return ctx.Err()
}

// flood sends ARP requests for random addresses of a prefix, at a steady rate, on the
// interface of the calling thread's network namespace. It returns how many.
func flood(ctx context.Context, ifname string, self netip.Addr, prefix netip.Prefix, rate int, during time.Duration) (sent int, err error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return 0, err
	}
	frame := newARPFrame(ifi.HardwareAddr, self)
	fd, err := open(ifi.Index, frame)
	if err != nil {
		return 0, fmt.Errorf("open packet socket on %s: %w", ifname, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	random := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-ctx.Done():
			return sent, ctx.Err()
		case <-tick.C:
		}
		elapsed := min(time.Since(begin), during)
		for ; sent < int(elapsed.Seconds()*float64(rate)); sent++ {
			target := prefix.Addr().As4()
			offset := random.IntN(1 << (32 - prefix.Bits()))
			target[2] |= byte(offset >> 8)
			target[3] = byte(offset)
			if err := unix.Send(fd, frame.request(netip.AddrFrom4(target)), 0); err != nil {
				return sent, fmt.Errorf("send ARP request: %w", err)
			}
		}
		if elapsed == during {
			return sent, nil
		}
	}
}
