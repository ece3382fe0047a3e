// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// slot is a connection that is to stay open, and is opened again when it breaks.
type slot struct {
	client *lab.Host
	target string
	open   atomic.Bool
	broken atomic.Int64
}

// run keeps the connection open until ctx ends.
func (s *slot) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := s.client.Dial(ctx, "tcp", s.target)
		if err != nil { // a request would count it
			pause(ctx, 100*time.Millisecond)
			continue
		}
		err = s.converse(ctx, conn)
		_ = conn.Close()
		if err != nil && ctx.Err() == nil {
			s.broken.Add(1)
		}
	}
}

// converse asks a question now and then. Its error is that a question has not been answered.
func (s *slot) converse(ctx context.Context, conn net.Conn) error {
	const rhythm = 500 * time.Millisecond
	answers := bufio.NewReader(conn)
	for ctx.Err() == nil {
		if err := conn.SetDeadline(time.Now().Add(2 * tolerance)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(conn, "still there?"); err != nil {
			return err
		}
		if _, err := answers.ReadString('\n'); err != nil {
			return err
		}
		s.open.Store(true)
		pause(ctx, rhythm)
	}
	return nil
}
