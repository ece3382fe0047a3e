// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Dial connects from inside the namespace. Its signature is that of
// http.Transport's DialContext. The address must be a literal: names would be
// resolved outside.
func (n *Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := n.Enter(func() (err error) {
		// No fallback delay: it would dial from a second goroutine, thus from
		// another thread, outside the namespace.
		conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen announces a stream listener inside the namespace.
func (n *Namespace) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Enter(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket announces a packet listener inside the namespace.
func (n *Namespace) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.Enter(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// HTTPClient returns a client that dials from inside the namespace, a new
// connection for each request. A zero timeout means none.
func (n *Namespace) HTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true},
	}
}
