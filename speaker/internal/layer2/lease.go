// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"sync/atomic"
	"time"
)

// lease is how long this node may answer. A process that is stopped cannot know that
// it is; requests wait in its sockets meanwhile, and to answer them when it goes on would
// take back addresses that others have taken over.
type lease struct {
	begun time.Time
	until atomic.Int64 // nanoseconds since begun; 0: for ever
}

// lapsed says whether the lease is over.
func (l *lease) lapsed() bool {
	until := l.until.Load()
	return until != 0 && int64(time.Since(l.begun)) > until
}

// Extend lets this node answer until then, and no longer, unless it is extended again;
// the zero time is for ever, which is how an Announcer begins. Announcements are not
// bound to it: they are not sent by a process that is stopped.
func (a *Announcer) Extend(until time.Time) {
	if until.IsZero() {
		a.lease.until.Store(0)
		return
	}
	a.lease.until.Store(max(1, int64(until.Sub(a.lease.begun))))
}

// Renew announces all addresses again: others may have claimed them meanwhile.
func (a *Announcer) Renew() {
	for e := range a.table.all() {
		a.Repeat(e.Address)
	}
}

// leasedNetwork has sockets that answer while a lease lasts.
type leasedNetwork struct {
	Network
	lease *lease
}

// Open implements Network.
func (n leasedNetwork) Open(p Protocol, i Interface) (Socket, error) {
	s, err := n.Network.Open(p, i)
	if err != nil {
		return nil, err
	}
	return leasedSocket{s, n.lease}, nil
}

type leasedSocket struct {
	Socket
	lease *lease
}

// Serve implements Socket.
func (s leasedSocket) Serve(a Answerer) error {
	return s.Socket.Serve(leasedAnswerer{a, s.lease})
}

type leasedAnswerer struct {
	Answerer
	lease *lease
}

// Answer implements Answerer.
func (a leasedAnswerer) Answer(frame []byte) []byte {
	reply := a.Answerer.Answer(frame)
	if reply != nil && a.lease.lapsed() {
		return nil
	}
	return reply
}
