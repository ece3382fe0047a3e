// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
)

const (
	// rhythm is how often a question is asked over each connection.
	rhythm = 500 * time.Millisecond
	// silence is how long an answer over a connection may take: TCP sends again what was lost
	// several times in that.
	silence = 3 * time.Second
	// retry is how long a connection that cannot be opened is left alone.
	retry = 100 * time.Millisecond
)

// connection is one that is to stay open, and is opened again when it breaks.
type connection struct {
	target Target

	mu     sync.Mutex // guards what follows
	heard  time.Time  // the last answer over the connection that is open, zero if there is none
	broken []Loss
}

// run keeps the connection open until ctx ends.
func (c *connection) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := c.dial(ctx)
		if err != nil { // a request counts that
			await.Pause(ctx, retry)
			continue
		}
		begin := time.Now()
		err = c.converse(ctx, conn)
		_ = conn.Close()
		if ctx.Err() == nil {
			c.lost(conn.LocalAddr(), begin, err)
		}
	}
}

func (c *connection) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tolerance)
	defer cancel()
	return c.target.Dial(ctx)
}

// converse asks a question now and then. Its error is that a question has not been answered.
func (c *connection) converse(ctx context.Context, conn net.Conn) error {
	answers := bufio.NewReader(conn)
	for ctx.Err() == nil {
		if err := conn.SetDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(conn, "still there?"); err != nil {
			return err
		}
		if _, err := answers.ReadString('\n'); err != nil {
			return err
		}
		c.answered()
		await.Pause(ctx, rhythm)
	}
	return nil
}

func (c *connection) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
}

func (c *connection) lost(from net.Addr, begin time.Time, err error) {
	now := time.Now()
	err = fmt.Errorf("from %s, open for %s: %w", from, now.Sub(begin).Round(time.Millisecond), err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, Loss{To: c.target.Name, At: now, Err: err})
	c.heard = time.Time{}
}

// state is when something was heard over the open connection, and each time that it broke.
func (c *connection) state() (heard time.Time, broken []Loss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard, c.broken // which is only appended to
}
