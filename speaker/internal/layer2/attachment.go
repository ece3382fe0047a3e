// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// The pause before a socket that has failed is opened again doubles from the
// first to the last.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// codec is a protocol's frames on one interface.
type codec interface {
	Answerer
	// announcements passes the frames that announce an address to send, until it
	// returns an error.
	announcements(a netip.Addr, send func(frame []byte) error) error
}

// attachment is one protocol on one interface: it answers and announces there
// for every address that the table has for it.
type attachment struct {
	identity
	iface   Interface
	network Network
	table   *table
	refresh time.Duration
	heard   func(Claim) // another station claims an address
	log     *slog.Logger

	mu    sync.Mutex   // guards what follows
	dirty []netip.Addr // whose entries have changed
	again []netip.Addr // to be announced as if they were new
	bell  chan struct{}
}

// touch tells that the entry of a has been put, changed or removed.
func (a *attachment) touch(address netip.Addr) {
	a.mu.Lock()
	a.dirty = append(a.dirty, address)
	a.mu.Unlock()
	ring(a.bell)
}

// repeat tells that an address is to be announced again.
func (a *attachment) repeat(address netip.Addr) {
	a.mu.Lock()
	a.again = append(a.again, address)
	a.mu.Unlock()
	ring(a.bell)
}

// run serves the interface until ctx ends. A socket that fails is opened again,
// for as long as the interface is there by the word of Follow.
func (a *attachment) run(ctx context.Context) {
	pause := firstRetry
	for ctx.Err() == nil {
		begun, err := a.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if begun {
			pause = firstRetry
		}
		a.report(err, pause)
		wait(ctx, pause)
		pause = min(2*pause, lastRetry)
	}
}

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// report logs a failure. That an interface goes down or away is no failure: it
// is followed by other means, which are about to detach it.
func (a *attachment) report(err error, pause time.Duration) {
	log := a.log.Warn
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		log = a.log.Debug
	}
	log("serving an interface has failed, trying again", lb.LogKeyError, err, "pause", pause)
}

// serve opens the socket, then answers and announces until the socket fails or
// ctx ends. It says whether it got as far as to serve.
func (a *attachment) serve(ctx context.Context) (begun bool, err error) {
	socket, err := a.network.Open(a.protocol, a.iface)
	if err != nil {
		return false, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return socket.Close()
	})
	group.Go(func() error { return socket.Serve(a.codec()) })
	group.Go(func() error { return a.announce(ctx, socket) })
	return true, group.Wait()
}

// codec returns a new codec: answering and announcing do not share one.
func (a *attachment) codec() codec {
	heard := func(address netip.Addr, by mac) { a.heard(Claim{Address: address, Interface: a.name, MAC: by}) }
	if a.protocol == ARP {
		return &arpCodec{table: a.table, name: a.name, self: a.mac, heard: heard}
	}
	return &ndpCodec{table: a.table, name: a.name, self: a.mac, source: a.source.As16(), heard: heard}
}

// has says whether an address is to be announced here.
func (a *attachment) has(address netip.Addr) bool {
	e := a.table.get(address)
	return e != nil && a.protocol.carries(address) && e.allows(a.name)
}

// take returns the addresses whose entries have changed, and those to be announced
// again, since it was called last.
func (a *attachment) take() (dirty, again []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	dirty, again = a.dirty, a.again
	a.dirty, a.again = nil, nil
	return dirty, again
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
