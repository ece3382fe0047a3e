// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// sender announces the addresses of one attachment over one socket, for as long
// as that lasts.
type sender struct {
	*attachment
	socket   Socket
	codec    codec
	schedule *schedule
	groups   *groups // nil for ARP
	deaf     int     // addresses whose group could not be joined

	sieve  *Sieve    // what the socket admits; nil: all
	narrow time.Time // when to admit no more than is needed; zero: it is so
}

// narrowAfter is how long a change of the set leaves the socket admitting more than
// it needs to: a filter for ten thousand addresses takes milliseconds to make, and
// they come one by one.
const narrowAfter = time.Second

// announce keeps announcing until ctx ends or the socket fails.
func (a *attachment) announce(ctx context.Context, socket Socket) (err error) {
	s := &sender{attachment: a, socket: socket, codec: a.codec()}
	if a.protocol == NDP {
		members := a.network.Memberships(a.iface)
		defer func() { err = errors.Join(err, members.Close()) }()
		s.groups = newGroups(members)
	}
	return s.run(ctx)
}

// packets is how many frames announce one address.
func (a *attachment) packets() int {
	if a.protocol == ARP {
		return 2
	}
	return 1
}

// run is the loop. It acts on the ticks of one timer only, whose times are all
// the clock it needs; a bell makes the timer tick at once.
func (s *sender) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	now := <-timer.C
	s.schedule = newSchedule(s.refresh, s.packets(), now)
	s.seed(now)
	timer.Reset(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell:
			timer.Reset(0)
		case now := <-timer.C:
			if err := errors.Join(s.update(now), s.send(ctx, now)); err != nil {
				return err
			}
			if wait, ok := s.wait(now); ok {
				timer.Reset(wait)
			}
		}
	}
}

// seed begins with everything the table has. What changes while it looks is
// dirty, and looked at again.
func (s *sender) seed(now time.Time) {
	for e := range s.table.all() {
		if s.has(e.Address) {
			s.schedule.add(e.Address, now)
		}
	}
	s.narrow = now.Add(narrowAfter)
}

// wait returns how long there is nothing to do; false means until the bell rings.
func (s *sender) wait(now time.Time) (time.Duration, bool) {
	wait, ok := s.schedule.wait(now)
	if s.narrow.IsZero() {
		return wait, ok
	}
	untilNarrow := max(0, s.narrow.Sub(now))
	if !ok {
		return untilNarrow, true
	}
	return min(wait, untilNarrow), true
}

// update takes up what has changed in the table. It goes by what the table has
// now, not by what happened to it.
func (s *sender) update(now time.Time) error {
	dirty, again := s.take()
	missed := false
	for _, a := range dirty {
		if s.has(a) {
			s.schedule.add(a, now)
			missed = missed || !s.sieve.Passes(a)
		} else {
			s.forget(a)
			s.narrowBy(now.Add(narrowAfter))
		}
	}
	for _, a := range again {
		s.schedule.again(a, now)
	}
	switch {
	case missed:
		s.narrowBy(now.Add(narrowAfter))
		return s.admit(nil)
	case !s.narrow.IsZero() && !now.Before(s.narrow):
		s.narrow = time.Time{}
		return s.admit(newSieve(maps.Keys(s.schedule.items)))
	}
	return nil
}

// forget announces an address no longer.
func (s *sender) forget(a netip.Addr) {
	s.schedule.remove(a)
	if s.groups == nil {
		return
	}
	if err := s.groups.leave(a); err != nil {
		s.log.Warn("a multicast group could not be left", lb.LogKeyIP, a, lb.LogKeyError, err)
	}
}

// narrowBy sets when the filter is narrowed, unless it is to be sooner.
func (s *sender) narrowBy(t time.Time) {
	if s.narrow.IsZero() {
		s.narrow = t
	}
}

func (s *sender) admit(sieve *Sieve) error {
	s.sieve = sieve
	if err := s.socket.Admit(sieve); err != nil {
		return fmt.Errorf("replace the filter: %w", err)
	}
	return nil
}

// send announces what is due, as far as the budget goes.
func (s *sender) send(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		a, ok := s.schedule.next(now)
		if !ok {
			return nil
		}
		e := s.table.get(a)
		if e == nil {
			continue // removed just now; update will hear of it
		}
		s.join(a)
		err := s.codec.announcements(a, func(frame []byte) error {
			if err := s.socket.Send(frame); err != nil {
				return err
			}
			e.counters.gratuitous.Add(1)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// join listens for solicitations before the address is announced, which makes
// the pace of announcements that of MLD reports too. An address whose group
// cannot be joined is announced all the same, and is tried again with the next
// round: clients that know it will ask by unicast.
func (s *sender) join(a netip.Addr) {
	if s.groups == nil {
		return
	}
	if err := s.groups.join(a); err != nil {
		s.deaf++
		if s.deaf == 1 {
			s.log.Warn("a multicast group could not be joined, and is tried again with each announcement",
				lb.LogKeyIP, a, lb.LogKeyError, err)
		}
	}
}
