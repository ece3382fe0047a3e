// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// relay is the connection to one peer, and stands between the peer and gobgp: gobgp
// dials it on the loopback interface, it dials the peer. Whatever the peer sends is
// checked here, and gobgp gets nothing but what it is known to take (ADR 0017).
//
// A relay is good for one connection. It ends with it, or after endurance without one.
type relay struct {
	peer     Peer
	address  netip.Addr
	listener *net.TCPListener
	tally    *tally
	observer observer
	// notBefore is when the peer may be dialled.
	notBefore time.Time

	cancel context.CancelFunc
	ended  chan struct{}
	bell   chan struct{} // something is left under mu

	mu sync.Mutex // guards what follows
	// inner are connections that gobgp may have opened, the oldest first; claimed is the
	// port that it says it has.
	inner   []*net.TCPConn
	claimed uint16
	ready   bool
	// cease is what to say to the peer at the end; nil for nothing.
	cease *Notification
}

// observer is told what happens. Its methods are called by one relay at a time, and must
// not block.
type observer interface {
	// entered tells of a state, in the order they occur.
	entered(State)
	// connected tells the local address of a connection.
	connected(local netip.Addr)
	// unreached tells why there is none.
	unreached(error)
	// opened tells of the peer's OPEN, which is as expected.
	opened(*openMessage)
	// notified tells of a NOTIFICATION.
	notified(Notification)
	// remarked tells what was wrong and had no consequence.
	remarked(string)
	// over is the last call. The error may be nil if there is nothing more to say.
	over(error)
}

const (
	// endurance is how long a relay waits for the peer. gobgp, which has sent its OPEN long
	// before, waits four minutes for the answer.
	endurance = 3 * time.Minute
	// goodbye is how long a last word may take.
	goodbye = 500 * time.Millisecond
	// strangers is how many connections that gobgp has not claimed are kept.
	strangers = 4
)

// newRelay returns a relay that listens and does not run.
func newRelay(ctx context.Context, p Peer, address netip.Addr, t *tally, o observer) (*relay, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp4", netip.AddrPortFrom(loopback, 0).String())
	if err != nil {
		return nil, fmt.Errorf("listen for our own BGP speaker: %w", err)
	}
	return &relay{
		peer: p, address: address, listener: l.(*net.TCPListener), tally: t, observer: o,
		ended: make(chan struct{}), bell: make(chan struct{}, 1),
	}, nil
}

// loopback is where gobgp finds a relay.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1}) //nolint:gochecknoglobals // a constant

// port is where gobgp is to dial.
func (r *relay) port() uint16 {
	return r.listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// start runs the relay, until stop if nothing ends it before.
func (r *relay) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		r.observer.over(r.run(ctx))
	}()
}

// stop ends the relay, with a last word to the peer if there is one to say, and returns
// when it has ended.
func (r *relay) stop(cease *Notification) {
	r.mu.Lock()
	r.cease = cease
	r.mu.Unlock()
	r.cancel()
	<-r.ended
}

// proceed lets messages through: all that the peer is to hear first is in the table.
func (r *relay) proceed() {
	r.mu.Lock()
	r.ready = true
	r.mu.Unlock()
	ring(r.bell)
}

// claim says which connection is gobgp's. Any process of this host can open one; none
// but gobgp's is listened to, or an impostor could speak to the router with our voice.
func (r *relay) claim(port uint16) {
	r.mu.Lock()
	r.claimed = port
	r.mu.Unlock()
	ring(r.bell)
}

func (r *relay) run(ctx context.Context) error {
	var accepting sync.WaitGroup
	accepting.Go(r.accept)
	defer func() {
		_ = r.listener.Close()
		accepting.Wait()
		r.drop()
	}()
	waiting, cancel := context.WithTimeout(ctx, endurance)
	defer cancel()
	outer, err := r.connect(waiting)
	if err != nil {
		return nil // the observer knows why
	}
	local := outer.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	r.observer.connected(local)
	inner := r.await(waiting)
	if inner == nil {
		part(outer)
		return nil
	}
	return r.pump(ctx, inner, outer)
}

// connect dials the peer until it answers.
func (r *relay) connect(ctx context.Context) (*net.TCPConn, error) {
	pause := time.NewTimer(time.Until(r.notBefore))
	defer pause.Stop()
	for {
		r.observer.entered(Active)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-pause.C:
		}
		r.observer.entered(Connect)
		conn, err := r.dial(ctx)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() == nil:
			r.observer.unreached(err)
		}
		pause.Reset(jitter(r.peer.ConnectRetry))
	}
}

// dial dials the peer once. A dial that is under way when ctx ends is not broken off at
// once: the peer may have the connection already, which is then parted from as any other.
func (r *relay) dial(ctx context.Context) (*net.TCPConn, error) {
	dialing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		late, stop := context.WithTimeout(dialing, goodbye)
		defer stop()
		<-late.Done()
		cancel()
	})()
	conn, err := dialPeer(dialing, &r.peer, r.address)
	if err == nil && ctx.Err() != nil {
		part(conn)
		return nil, ctx.Err()
	}
	return conn, err
}

// jitter is that of RFC 4271, 10.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + 0.25*rand.Float64()))
}

// accept takes connections until the listener is closed.
func (r *relay) accept() {
	for {
		conn, err := r.listener.AcceptTCP()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.observer.unreached(fmt.Errorf("listen for our own BGP speaker: %w", err))
				r.cancel() // another relay may fare better
			}
			return
		}
		r.mu.Lock()
		if len(r.inner) == strangers {
			_ = r.inner[0].Close()
			r.inner = r.inner[1:]
		}
		r.inner = append(r.inner, conn)
		r.mu.Unlock()
		ring(r.bell)
	}
}

// await waits for gobgp, and until the relay may proceed.
func (r *relay) await(ctx context.Context) *net.TCPConn {
	for {
		if conn := r.take(); conn != nil {
			return conn
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.bell:
		}
	}
}

// take returns gobgp's connection, if it is there and the relay may proceed.
func (r *relay) take() *net.TCPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.inner, func(c *net.TCPConn) bool {
		return c.RemoteAddr().(*net.TCPAddr).AddrPort().Port() == r.claimed
	})
	if i < 0 || !r.ready {
		return nil
	}
	conn := r.inner[i]
	r.inner = slices.Delete(r.inner, i, i+1)
	return conn
}

// drop closes the connections that were not used.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.inner {
		_ = conn.Close()
	}
	r.inner = nil
}

// lastWord returns what stop has to say.
func (r *relay) lastWord() *Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cease
}

// newBuffer reads a connection in pieces of several messages.
func newBuffer(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 16*longestLength) }
