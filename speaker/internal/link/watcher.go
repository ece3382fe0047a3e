// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// settle is how long events are gathered after the first of them: one change
	// of a link makes several.
	settle = 10 * time.Millisecond
	// retry is the pause before the kernel is asked again after an error.
	retry = time.Second
	// dumpTries bounds how often a dump is repeated because it was interrupted
	// by changes. The events of those changes are queued and will repair it.
	dumpTries = 5
)

// Watcher keeps the latest snapshot of this node's interfaces. Its methods may
// be called from several goroutines at once.
type Watcher struct {
	log     *slog.Logger
	current atomic.Pointer[[]Interface]
	changed chan struct{}
	ready   chan struct{}

	mu     sync.Mutex // guards mirror
	mirror *mirror
}

// New returns a Watcher whose snapshot is empty until Run has read it.
func New(log *slog.Logger) *Watcher {
	w := &Watcher{
		log:     log,
		changed: make(chan struct{}, 1),
		ready:   make(chan struct{}),
		mirror:  newMirror(),
	}
	w.current.Store(new([]Interface))
	return w
}

// Snapshot returns all interfaces, sorted by index. The caller must not modify
// what it gets.
func (w *Watcher) Snapshot() []Interface { return *w.current.Load() }

// Changed rings after Snapshot has got a new value. Several changes may make one
// ring. It is meant for one receiver.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Ready is closed once the first snapshot is there.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Run follows the kernel until ctx ends, then returns nil. Errors are logged and
// outlived: the last snapshot stays until a better one can be read.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		w.outlive(ctx, w.follow(ctx))
	}
	return nil
}

// outlive waits before everything is read again because of err. When ctx has
// ended, the error is only that the socket was closed.
func (w *Watcher) outlive(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.log.Warn("following interfaces was interrupted, reading all of them again", lb.LogKeyError, err)
	if errors.Is(err, unix.ENOBUFS) { // too slow for a moment; nothing is broken
		pause(ctx, settle)
		return
	}
	pause(ctx, retry)
}

// pause waits for a time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// follow subscribes, reads everything once and mirrors events until the socket
// fails or ctx ends. Subscribing comes first: an event between the two is then
// applied twice instead of never.
func (w *Watcher) follow(ctx context.Context) error {
	socket, err := subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	dirty := make(chan struct{}, 1)
	group.Go(func() error {
		<-ctx.Done()
		socket.Close()
		return nil
	})
	group.Go(func() error {
		if err := w.read(); err != nil {
			return err
		}
		ring(dirty)
		return w.receive(socket, dirty)
	})
	group.Go(func() error { return w.publish(ctx, dirty) })
	return group.Wait()
}

// subscribe opens a socket that receives the events of links and addresses.
func subscribe() (*nl.NetlinkSocket, error) {
	return nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
}

// read replaces the mirror by what the kernel says now.
func (w *Watcher) read() error {
	fresh := newMirror()
	if err := dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), fresh); err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	if err := dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC), fresh); err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh.inherit(w.mirror)
	w.mirror = fresh
	return nil
}

// dump asks for all objects of a kind and applies the answers to m.
func dump(request int, answer uint16, body nl.NetlinkRequestData, m *mirror) error {
	for try := 1; ; try++ {
		r := nl.NewNetlinkRequest(request, unix.NLM_F_DUMP)
		r.AddData(body)
		messages, err := r.Execute(unix.NETLINK_ROUTE, answer)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			if try < dumpTries {
				continue
			}
			err = nil
		}
		for _, payload := range messages {
			m.apply(answer, payload)
		}
		return err
	}
}

// receive applies events to the mirror until the socket is closed or fails.
func (w *Watcher) receive(socket *nl.NetlinkSocket, dirty chan<- struct{}) error {
	for {
		messages, from, err := socket.Receive()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from rtnetlink: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue // any process may send to a netlink socket
		}
		w.apply(messages)
		ring(dirty)
	}
}

func (w *Watcher) apply(messages []syscall.NetlinkMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range messages {
		w.mirror.apply(m.Header.Type, m.Data)
	}
}

// publish turns the mirror into a snapshot whenever it may have changed.
func (w *Watcher) publish(ctx context.Context, dirty <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-dirty:
		}
		// The first snapshot is wanted at once, later ones when their events have
		// come together.
		if w.isReady() {
			timer.Reset(settle)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		w.swap()
	}
}

// swap stores a new snapshot and rings, if it differs from the last one.
func (w *Watcher) swap() {
	w.mu.Lock()
	next := w.mirror.snapshot()
	w.mu.Unlock()
	first := !w.isReady()
	if !first && slices.EqualFunc(next, w.Snapshot(), equal) {
		return
	}
	w.current.Store(&next)
	ring(w.changed)
	if first {
		close(w.ready)
	}
}

func (w *Watcher) isReady() bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
