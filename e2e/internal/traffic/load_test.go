// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/e2e/internal/traffic"
)

// rhythm is a bit more than that of questions over a connection.
const rhythm = 510 * time.Millisecond

// server answers each line, until it resets all its connections and refuses requests for a
// while.
type server struct {
	mu      sync.Mutex
	conns   []net.Conn
	refuses bool
}

func (s *server) ask(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		return "", errors.New("refused")
	}
	return "server", nil
}

func (s *server) dial(context.Context) (net.Conn, error) {
	if _, err := s.ask(nil); err != nil { //nolint:staticcheck // it looks at no context
		return nil, err
	}
	client, here := net.Pipe()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, here)
	go func() {
		for lines := bufio.NewReader(here); ; {
			if _, err := lines.ReadString('\n'); err != nil {
				return
			}
			if _, err := io.WriteString(here, "yes\n"); err != nil {
				return
			}
		}
	}()
	return client, nil
}

func (s *server) resets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *server) refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = yes
}

// A request that is refused and a connection that is reset are counted, each time, and nothing
// else is.
func TestEveryLossIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		target := traffic.Target{Name: "here", Ask: s.ask, Dial: s.dial}
		l := traffic.New([]traffic.Target{target}, 10*time.Millisecond, 3)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx) })

		if l.Answered(time.Time{}) == nil {
			t.Error("there are answers before it has begun")
		}
		time.Sleep(time.Second + time.Millisecond)
		if err := l.Answered(time.Now().Add(-rhythm)); err != nil {
			t.Error(err)
		}
		if c := l.Count(); !c.Lossless() || c.Requests != 101 || !slices.Equal(c.Breaks, []int{0, 0, 0}) {
			t.Errorf("before anything was broken: %v", c)
		}

		s.refuse(true)
		s.resets()
		time.Sleep(time.Second)
		if l.Answered(time.Time{}) == nil {
			t.Error("there are answers when all connections are broken")
		}
		s.refuse(false)
		time.Sleep(time.Second)
		s.resets()
		time.Sleep(time.Second)
		if err := l.Answered(time.Now().Add(-rhythm)); err != nil {
			t.Error(err)
		}
		c := l.Count()
		if len(c.Failed) != 100 || len(c.Broken) != 6 || !slices.Equal(c.Breaks, []int{2, 2, 2}) || c.Lossless() {
			t.Errorf("after a second of refusals and two resets: %v", c)
		}
		cancel()
		s.resets()
		running.Wait()
		if after := l.Count(); len(after.Broken) != len(c.Broken) {
			t.Errorf("%d connections broke by the end of the load", len(after.Broken)-len(c.Broken))
		}
	})
}
