// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pump carries the messages of one connection.
type pump struct {
	*relay
	inner net.Conn
	outer *net.TCPConn
	// heard and said are the halves of what makes a session Established: the peer's
	// KEEPALIVE and ours.
	heard, said atomic.Bool
	entering    sync.Once
	// deadline is how long a write to the peer may take, in nanoseconds: the Hold Time
	// (RFC 9687 has it longer).
	deadline atomic.Int64

	mu     sync.Mutex // guards what follows, and that messages go out whole
	closed bool
}

// pump carries messages both ways until one side ends the connection, or ctx does.
func (r *relay) pump(ctx context.Context, inner, outer *net.TCPConn) error {
	p := &pump{relay: r, inner: inner, outer: outer}
	p.deadline.Store(int64(r.peer.HoldTime))
	r.observer.entered(OpenSent) // gobgp has sent its OPEN long before
	over := make(chan error, 2)
	go func() { over <- p.receive(newBuffer(outer)) }()
	go func() { over <- p.send() }()
	left := 2
	var err error
	select {
	case err = <-over:
		left--
	case <-ctx.Done():
		if cease := r.lastWord(); cease != nil {
			err = &messageError{code: cease.Code, subcode: cease.Subcode}
		}
	}
	bad, tell := errors.AsType[*messageError](err)
	if tell {
		p.farewell(bad)
	}
	if tell || errors.Is(err, errNotified) {
		err = nil // it has been told
	}
	_ = inner.Close()
	past := time.Unix(1, 0)
	_ = outer.SetDeadline(past)
	for ; left > 0; left-- {
		<-over //nolint:errcheck // it ended because of the first
	}
	part(outer)
	r.tally.refused.Store(0)
	return err
}

// part closes a connection with the peer, after the peer has or has had time to.
//
// To close it with unread bytes resets it, which may cost the peer our last word. And a
// peer that meets our next connection before the end of this one may take the next one
// for a collision (RFC 4271, 6.8): FRR 8.4, which makes neighbors of a listen range when
// they come, then has a session that it takes no routes from, for ever.
func part(conn *net.TCPConn) {
	if conn.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(goodbye)) == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
	_ = conn.Close()
}

// farewell sends a NOTIFICATION, unless a message is stuck halfway.
func (p *pump) farewell(e *messageError) {
	// A write that waits for the peer has the lock.
	_ = p.outer.SetWriteDeadline(time.Now().Add(goodbye))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if _, err := p.outer.Write(newNotification(e.code, e.subcode, e.data)); err != nil {
		return
	}
	p.tally.sent[typeNotification].Add(1)
	p.observer.notified(Notification{Time: time.Now(), Code: e.code, Subcode: e.subcode, Detail: e.detail})
}

// write sends messages to the peer.
func (p *pump) write(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	err := p.outer.SetWriteDeadline(time.Now().Add(time.Duration(p.deadline.Load())))
	if err == nil {
		_, err = p.outer.Write(b)
	}
	if err != nil {
		p.closed = true
		return fmt.Errorf("send to the peer: %w", err)
	}
	return nil
}

// send carries gobgp's messages to the peer, as many at once as there are.
func (p *pump) send() error {
	r := newBuffer(p.inner)
	var batch []byte
	for {
		m, err := readMessage(r)
		if err != nil {
			// gobgp has closed the connection, and has sent a NOTIFICATION before if there
			// was a reason.
			return nil //nolint:nilerr // see above
		}
		batch = append(batch[:0], m...)
		last := p.note(m)
		for !last && wholeMessage(r) {
			if m, err = readMessage(r); err != nil {
				return fmt.Errorf("read from our own BGP speaker: %w", err)
			}
			batch = append(batch, m...)
			last = p.note(m)
		}
		if err := p.write(batch); err != nil {
			return err
		}
		p.establish()
		if last {
			return nil
		}
	}
}

// wholeMessage says whether a message can be read without waiting.
func wholeMessage(r *bufio.Reader) bool {
	if r.Buffered() < headerLength {
		return false
	}
	head, err := r.Peek(headerLength)
	return err == nil && r.Buffered() >= int(binary.BigEndian.Uint16(head[markerLength:]))
}

// note takes note of a message of ours, and says whether it is the last.
func (p *pump) note(m message) (last bool) {
	p.tally.sent[m.kind()].Add(1)
	switch m.kind() {
	case typeKeepalive:
		p.said.Store(true)
	case typeNotification:
		n := parseNotification(m.body())
		n.Time = time.Now()
		p.observer.notified(n)
		return true
	}
	return false
}

// establish enters Established once both sides have agreed.
func (p *pump) establish() {
	if p.heard.Load() && p.said.Load() {
		p.entering.Do(func() { p.observer.entered(Established) })
	}
}

// receive carries to gobgp what it needs of the peer's messages.
func (p *pump) receive(r *bufio.Reader) error {
	c := conversation{pump: p, refusals: newRefusals()}
	for {
		m, err := readMessage(r)
		if err == nil {
			p.tally.received[m.kind()].Add(1)
			err = c.hear(m)
		}
		if err != nil {
			return err
		}
	}
}

// conversation is what the peer has said so far.
type conversation struct {
	*pump
	refusals *refusals
	phase    State // OpenSent, OpenConfirm or Established
	families Families
	open     openMessage
	// alive is when gobgp was last told that the peer is.
	alive time.Time
}

// errNotified ends a connection after the peer's NOTIFICATION.
var errNotified = errors.New("the peer has sent a NOTIFICATION")

// hear passes on what gobgp needs of a message.
func (c *conversation) hear(m message) error {
	if m.kind() == typeNotification {
		n := parseNotification(m.body())
		n.Time, n.Received = time.Now(), true
		c.observer.notified(n)
		return errNotified
	}
	switch {
	case c.phase < OpenConfirm && m.kind() == typeOpen:
		return c.hearOpen(m)
	case c.phase == OpenConfirm && m.kind() == typeKeepalive:
		c.phase = Established
		c.heard.Store(true)
		if err := c.pass(m); err != nil {
			return err
		}
		c.establish()
		return nil
	case c.phase != Established || m.kind() == typeOpen: // RFC 6608
		subcode := max(c.phase, OpenSent) - OpenSent + 1
		e := malformed(codeFSM, byte(subcode), "a message of type %d", m.kind())
		e.data = []byte{m.kind()}
		return e
	}
	switch m.kind() {
	case typeKeepalive:
		return c.passAlive(m)
	case typeUpdate:
		return c.hearUpdate(m)
	}
	return c.hearRefresh(m)
}

func (c *conversation) hearOpen(m message) error {
	open, bad := parseOpen(m.body())
	if bad == nil {
		bad = open.check(&c.peer)
	}
	if bad != nil {
		return bad
	}
	if d := time.Duration(open.holdTime) * time.Second; d != 0 && d < c.peer.HoldTime {
		c.deadline.Store(int64(d))
	}
	c.phase, c.open, c.families = OpenConfirm, open, open.families&c.peer.Families
	c.observer.opened(&open)
	c.observer.entered(OpenConfirm)
	return c.pass(open.encode())
}

// hearUpdate counts the routes, and passes on that the peer is alive: gobgp has no use
// for routes that are refused.
func (c *conversation) hearUpdate(m message) error {
	ended, bad := c.refusals.inspect(m.body(), c.families)
	if bad != nil {
		return bad
	}
	c.tally.refused.Store(int64(len(c.refusals.seen)))
	if c.refusals.remark != "" {
		c.observer.remarked(c.refusals.remark)
		c.refusals.remark = ""
	}
	if ended != 0 {
		return c.pass(endOfRIB(ended))
	}
	// A KEEPALIVE for each would be many; the least hold time there is is three seconds.
	if time.Since(c.alive) < time.Second {
		return nil
	}
	return c.passAlive(newMessage(typeKeepalive, nil))
}

// hearRefresh passes on a request for routes of a family that the session has.
func (c *conversation) hearRefresh(m message) error {
	b := m.body()
	family := familyOnWire(binary.BigEndian.Uint16(b), b[3])
	if family&c.families == 0 || b[2] != 0 { // RFC 7313 has other subtypes, and is not offered
		return nil
	}
	return c.pass(m)
}

func (c *conversation) passAlive(m message) error {
	c.alive = time.Now()
	return c.pass(m)
}

func (c *conversation) pass(m message) error {
	if _, err := c.inner.Write(m); err != nil {
		return fmt.Errorf("pass a message on to our own BGP speaker: %w", err)
	}
	return nil
}
