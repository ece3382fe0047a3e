// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/lab"
)

// tolerance is how long a request may take. A SYN that was lost is sent again after a second
// (RFC 6298 section 2), too late.
const tolerance = time.Second

// Target is what the load is on.
type Target struct {
	Name string
	// Ask is one request.
	Ask probe.Ask
	// Dial opens a connection on which each line is answered by one.
	Dial func(ctx context.Context) (net.Conn, error)
}

// From has a host ask the echo pods behind port 80 of an address.
func From(client *lab.Host, addr netip.Addr) Target {
	to := netip.AddrPortFrom(addr, 80).String()
	return Target{
		Name: addr.String(),
		Ask: func(ctx context.Context) (string, error) {
			reply, err := client.Echo(ctx, "http", to)
			return reply.Node, err
		},
		Dial: func(ctx context.Context) (net.Conn, error) { return client.Dial(ctx, "tcp", to) },
	}
}

// Load is requests and connections to some targets. Its methods may be called by several
// goroutines at once, and while it runs.
type Load struct {
	targets     []Target
	probes      []*probe.Probe // one for each target
	connections []*connection
}

// New returns a Load that asks each target every so often, and keeps so many connections open
// to each. It starts nothing.
func New(targets []Target, every time.Duration, connections int) *Load {
	l := &Load{targets: targets}
	for _, t := range targets {
		l.probes = append(l.probes, probe.New(every, tolerance, t.Ask))
		for range connections {
			l.connections = append(l.connections, &connection{target: t})
		}
	}
	return l
}

// Run puts the load on until ctx ends.
func (l *Load) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for _, p := range l.probes {
		group.Go(func() { p.Run(ctx) })
	}
	for _, c := range l.connections {
		group.Go(func() { c.run(ctx) })
	}
}

// Answered is nil once every target has answered a number of requests since a time, and a
// question over each connection.
func (l *Load) Answered(since time.Time) error {
	const enough = 20
	for i, p := range l.probes {
		if n := len(p.Since(since)); n < enough {
			_, err := p.Last()
			return fmt.Errorf("%s has answered %d times; last error: %w", l.targets[i].Name, n, err)
		}
	}
	for _, c := range l.connections {
		if heard, _ := c.state(); !heard.After(since) {
			return fmt.Errorf("nothing is heard over a connection to %s", c.target.Name)
		}
	}
	return nil
}

// Loss is a request that failed or a connection that broke.
type Loss struct {
	To string
	// At is when a request was put, or a connection's end was noticed.
	At  time.Time
	Err error
}

func (l Loss) String() string {
	return fmt.Sprintf("%s to %s: %v", l.At.Format("15:04:05.000"), l.To, l.Err)
}

// Count is what became of a Load so far.
type Count struct {
	Requests int
	Failed   []Loss
	// Breaks is how often each connection broke, and Broken what is known of each time.
	Breaks []int
	Broken []Loss
	// Late is by how much the client missed its own rhythm at worst (see [probe.Probe.Late]).
	Late time.Duration
}

// Count returns what became of the load so far, in order of time.
func (l *Load) Count() Count {
	var sum Count
	for i, p := range l.probes {
		n, _ := p.Counts()
		sum.Requests, sum.Late = sum.Requests+n, max(sum.Late, p.Late())
		for _, f := range p.Failures() {
			sum.Failed = append(sum.Failed, Loss{To: l.targets[i].Name, At: f.Asked, Err: f.Err})
		}
	}
	for _, c := range l.connections {
		_, broken := c.state()
		sum.Breaks, sum.Broken = append(sum.Breaks, len(broken)), append(sum.Broken, broken...)
	}
	byTime := func(a, b Loss) int { return a.At.Compare(b.At) }
	slices.SortStableFunc(sum.Failed, byTime)
	slices.SortStableFunc(sum.Broken, byTime)
	return sum
}

// Lossless says whether no request failed and no connection broke.
func (c Count) Lossless() bool { return len(c.Failed)+len(c.Broken) == 0 }

func (c Count) String() string {
	return fmt.Sprintf("%d of %d requests failed; %d connections broke %d times; the client was late by %s at worst",
		len(c.Failed), c.Requests, len(c.Breaks), len(c.Broken), c.Late.Round(time.Millisecond))
}
