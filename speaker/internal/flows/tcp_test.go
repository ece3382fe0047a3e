// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// serve tells each client its name, then returns what it gets.
func serve(t testing.TB, n *linktest.Namespace, at netip.AddrPort, name string) {
	t.Helper()
	var l net.Listener
	var err error
	linktest.Await(t, func() bool { // a new IPv6 address is not there at once
		err = n.Enter(func() (err error) {
			l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			return err
		})
		return err == nil
	}, func() { t.Log(err) })
	var running sync.WaitGroup
	closed := make(chan struct{})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { <-closed; _ = c.Close() })
			running.Go(func() {
				_, _ = io.WriteString(c, name)
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(closed)
		running.Wait()
	})
}

// connection is one of the client's.
type connection struct {
	t testing.TB
	*net.TCPConn
}

// open connects and checks which node serves.
func (w *world) open(by *node) *connection {
	w.t.Helper()
	c := &connection{t: w.t}
	must(w.t, w.client.Enter(func() (err error) {
		c.TCPConn, err = net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.service, port)))
		return err
	}))
	w.t.Cleanup(func() { _ = c.Close() })
	must(w.t, c.SetDeadline(time.Now().Add(patience)))
	greeting := make([]byte, 1)
	_, err := io.ReadFull(c, greeting)
	must(w.t, err)
	if string(greeting) != by.name {
		w.t.Fatalf("connected to node %s, want %s", greeting, by.name)
	}
	return c
}

// echo sends a number of octets and wants them back.
func (c *connection) echo(n int) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	got := make([]byte, n)
	_, err := io.ReadFull(c, got)
	if err != nil {
		_ = c.SetDeadline(time.Now()) // ends the writer
	}
	if wrote := <-failed; err == nil {
		err = wrote
	}
	if err == nil && !bytes.Equal(got, sent) {
		return fmt.Errorf("something else came back")
	}
	return err
}

// works fails the test unless the connection does.
func (c *connection) works() {
	c.t.Helper()
	if err := c.echo(100); err != nil {
		c.t.Fatalf("the connection does not go on: %v", err)
	}
}
