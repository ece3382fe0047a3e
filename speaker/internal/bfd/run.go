// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// quantum is the grain of the timer: sessions that are due in the same
	// millisecond cost one wake-up.
	quantum = time.Millisecond
	// retryInterval is how often a socket is tried that could not be opened.
	retryInterval = time.Second
)

// Run keeps the sessions until ctx ends. Then it takes leave of all peers, which
// therefore see no failure, and returns nil as soon as they have heard it or the
// farewell is over. What cannot be sent or received is logged and tried again,
// and touches no other session. To run twice at the same time is an error.
func (s *Sessions) Run(ctx context.Context) error {
	var readers errgroup.Group
	told := make(chan struct{})
	end := make(chan struct{})
	go func() {
		defer close(told)
		s.tell(end)
	}()
	s.loop(ctx, &readers)
	s.closeReceivers()
	err := readers.Wait()
	close(end)
	<-told
	return err
}

// loop serves the sessions until ctx has ended and all leave is taken.
func (s *Sessions) loop(ctx context.Context, readers *errgroup.Group) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	leaving := false
	for {
		if leaving {
			s.leaveAll() // also those that were set meanwhile
		}
		wait, more := s.serve(ctx, readers)
		if leaving && !more {
			return
		}
		timer.Stop()
		if more {
			timer.Reset(wait)
		}
		select {
		case <-done:
			leaving, done = true, nil
		case <-timer.C:
		case <-s.bell:
		}
	}
}

// serve does what is due, and returns how long to wait for what is next; false:
// until the bell rings.
func (s *Sessions) serve(ctx context.Context, readers *errgroup.Group) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.tendAt.IsZero() && !s.tendAt.After(now) {
		s.tend(ctx, readers, now)
	}
	s.lateness.record(s.queue.first(), now)
	sent := false
	for len(s.queue) > 0 && !s.queue[0].due.After(now) {
		sent = s.advance(s.queue[0], now) || sent
	}
	if sent && s.together {
		s.goTogether(now)
	}
	s.armed = earliest(s.queue.first(), s.tendAt)
	if s.armed.IsZero() {
		return 0, false
	}
	return max(s.armed.Sub(now), quantum), true
}

// advance does what is due for a session, or finds out that nothing is. It says
// whether there was a packet to send.
func (s *Sessions) advance(e *session, now time.Time) (sent bool) {
	if e.leaving() && !e.leaveBy.After(now) {
		s.forget(e, now)
		return false
	}
	if e.machine.wouldExpire(now) {
		s.catchUp(now)
		if !e.started {
			return false // it was forgotten by that
		}
	}
	o := e.machine.advance(now)
	s.apply(e, o, now)
	s.queue.postpone(e, e.next())
	return o.send
}

// goTogether sends what need not wait for a wake-up of its own.
func (s *Sessions) goTogether(now time.Time) {
	for _, e := range s.queue {
		if e.machine.hasten(now) {
			s.ripe = append(s.ripe, e)
		}
	}
	for _, e := range s.ripe {
		s.advance(e, now)
	}
	clear(s.ripe)
	s.ripe = s.ripe[:0]
}

// catchUp reads what has arrived and not been read, before somebody is declared
// dead: if this process was late, the sign of life may be waiting.
func (s *Sessions) catchUp(now time.Time) {
	var buffer [maxPacket]byte
	for at, r := range s.receivers {
		for {
			a, ok := r.poll(buffer[:])
			if !ok {
				break
			}
			s.take(at, a, buffer[:a.length], now)
		}
	}
}

// tend opens the sockets that are wanted and missing, closes those that are
// wanted no more, and starts the sessions that can be.
func (s *Sessions) tend(ctx context.Context, readers *errgroup.Group, now time.Time) {
	s.tendAt = time.Time{}
	wanted := make(map[entrance]bool)
	echo := false
	for _, e := range s.byDiscriminator {
		wanted[e.path.entrance()] = true
		echo = echo || e.machine.requiredMinEchoRx() > 0
	}
	for at, r := range s.receivers {
		if !wanted[at] {
			s.close(r)
			delete(s.receivers, at)
		}
	}
	complete := s.tendEcho(echo, readers)
	for at := range wanted {
		complete = s.openReceiver(ctx, at, readers) && complete
	}
	if !s.start(now) || !complete {
		s.tendLater(now)
	}
}

// tendLater makes Run look after the sockets again.
func (s *Sessions) tendLater(now time.Time) {
	s.tendAt = now.Add(retryInterval)
	ring(s.bell)
}

// openReceiver opens an entrance and starts its reader, unless it is open.
func (s *Sessions) openReceiver(ctx context.Context, at entrance, readers *errgroup.Group) bool {
	if s.receivers[at] != nil {
		return true
	}
	r, err := s.network.listen(ctx, at)
	if err != nil {
		s.complain(at, err)
		return false
	}
	s.content(at)
	s.receivers[at] = r
	readers.Go(func() error { return s.read(at, r) })
	return true
}

// start starts sessions whose sockets can be open. It returns whether
// all of them are.
func (s *Sessions) start(now time.Time) bool {
	waiting := s.starting[:0]
	for _, e := range s.starting {
		if s.receivers[e.path.entrance()] == nil || !s.openSender(e) {
			waiting = append(waiting, e)
			continue
		}
		e.started = true
		s.queue.plan(e, now)
	}
	clear(s.starting[len(waiting):])
	s.starting = waiting
	return len(waiting) == 0
}

// leaveAll takes leave of all peers.
func (s *Sessions) leaveAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, e := range s.byPath {
		s.leave(e, now)
	}
}

func (s *Sessions) closeReceivers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, r := range s.receivers {
		s.close(r)
		delete(s.receivers, at)
	}
	if s.echo != nil {
		s.close(s.echo)
		s.echo = nil
	}
}

// close closes a socket whose reader then ends.
func (s *Sessions) close(c interface{ Close() error }) {
	if err := c.Close(); err != nil {
		s.log.Warn("closing a BFD socket", lb.LogKeyError, err)
	}
}

// tell calls OnChange until end is closed and nothing is left to tell.
func (s *Sessions) tell(end <-chan struct{}) {
	for {
		s.mu.Lock()
		changes := s.changes
		s.changes = nil
		s.mu.Unlock()
		for _, c := range changes {
			if s.onChange != nil {
				s.onChange(c)
			}
		}
		if len(changes) > 0 {
			continue
		}
		select {
		case <-s.news:
		case <-end:
			return
		}
	}
}
