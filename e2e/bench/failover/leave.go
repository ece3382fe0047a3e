// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	drainMark = "example.org/drain"
	// served is how many addresses of each family are under load when nodes leave: 200
	// requests a second, and so many connections that stay open, for each.
	served      = 3
	requests    = 5 * time.Millisecond
	connections = 50
	// tolerance is how long a request may take.
	tolerance = time.Second
)

// repeatLeaving has all nodes leave and come back, one after the other, under load. It returns
// the requests that failed, and how often each connection broke: one that does is opened
// again.
func (w *world) repeatLeaving(ctx context.Context, fault string, addresses int) ([]result, error) {
	begin := time.Now()
	name := func(what string) string {
		return fmt.Sprintf("%s_%s_nodes%d_addresses%d", fault, what, len(w.announcers), addresses)
	}
	failing := result{Name: name("failed"), MetalLB: "not measured"}
	breaking := result{Name: name("broken"), MetalLB: "not measured"}
	var failed, broken []float64
	asked, resets := 0, int64(0)
	for range w.trials {
		l, err := w.leaveInTurn(ctx, fault)
		if err != nil {
			return nil, err
		}
		n, f, late := l.requests()
		asked, resets = asked+n, resets+l.resets.Load()
		failed = append(failed, float64(len(f)))
		broken = append(broken, l.breaks()...)
		failing.Late = max(failing.Late, milliseconds(late))
		w.say("%s: %d of %d requests failed, %d were reset and put again; connections broke %s", fault, len(f), n, l.resets.Load(), tally(l.breaks()))
		for _, x := range f {
			w.say("  %s: %v", x.Asked.Format("15:04:05.000"), x.Err)
		}
	}
	failing.Seconds = time.Since(begin).Seconds()
	failing.Note = fmt.Sprintf("of %d requests; %d were under way when the address moved, were reset, and were put again", asked, resets)
	failing.judge(failed, "requests", 0)
	breaking.Late, breaking.Seconds, breaking.Note = failing.Late, failing.Seconds, tally(broken)
	breaking.judge(broken, "times", 1)
	breaking.Met = breaking.Max <= breaking.Goal
	return []result{failing, breaking}, nil
}

// tally says how many broke how often.
func tally(breaks []float64) string {
	counts := make(map[float64]int)
	for _, n := range breaks {
		counts[n]++
	}
	var words []string
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%.0f times: %d of them", n, counts[n]))
	}
	return strings.Join(words, ", ")
}

// leaveInTurn puts load on and has every node leave once.
func (w *world) leaveInTurn(ctx context.Context, fault string) (*load, error) {
	w.home = nil
	if _, err := w.awaitSettled(ctx); err != nil {
		return nil, err
	}
	l := w.newLoad(ctx, w.some(served))
	defer l.stop()
	if err := l.awaitAnswers(ctx); err != nil {
		return nil, err
	}
	leave := w.roll
	if fault == "drain" {
		leave = w.drainAll
	}
	if err := leave(ctx); err != nil {
		return nil, err
	}
	_, err := w.awaitSettled(ctx)
	pause(ctx, 2*tolerance) // each connection has been asked again
	return l, err
}

// roll replaces every speaker, as an upgrade does.
func (w *world) roll(ctx context.Context) error {
	if _, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "restart", "daemonset/speaker"); err != nil {
		return err
	}
	_, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", "daemonset/speaker", "--timeout=180s")
	return err
}

// drainAll drains every node, one after the other.
func (w *world) drainAll(ctx context.Context) error {
	for _, name := range w.announcers {
		if _, err := w.lab.Kubectl(ctx, "taint", "node", name, drainMark+"=:NoSchedule"); err != nil {
			return err
		}
		err := await.Until(ctx, settleLimit, 100*time.Millisecond, func() error { return w.gone(name) })
		if _, err2 := w.lab.Kubectl(ctx, "taint", "node", name, drainMark+"-"); errors.Join(err, err2) != nil {
			return errors.Join(err, err2)
		}
		if _, err := w.awaitSettled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gone is an error as long as a node answers for an address under load, or nobody does.
func (w *world) gone(node string) error {
	answers, err := wire.WhoHasEach(w.client.Netns(), lanLink, w.some(served), 60*time.Millisecond)
	if err != nil {
		return err
	}
	for addr, macs := range answers {
		if len(macs) != 1 || w.nodeOf[macs[0]] == node {
			return fmt.Errorf("%s, while %s is drained, is answered for by %v", addr, node, macs)
		}
	}
	return nil
}

// load is requests and connections.
type load struct {
	// resets counts requests that were under way when their address moved.
	resets atomic.Int64
	addrs  []netip.Addr
	probes []*probe.Probe
	slots  []*slot
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// newLoad begins to ask.
func (w *world) newLoad(ctx context.Context, addrs []netip.Addr) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{addrs: addrs, cancel: cancel}
	for _, addr := range addrs {
		target := netip.AddrPortFrom(addr, 80).String()
		p := probe.New(requests, tolerance, l.asking(w.client, target))
		l.probes = append(l.probes, p)
		l.group.Go(func() { p.Run(ctx) })
		for range connections {
			s := &slot{client: w.client, target: target}
			l.slots = append(l.slots, s)
			l.group.Go(func() { s.run(ctx) })
		}
	}
	return l
}

// asking is one request. One that is reset is put again, once: the node that an address has
// moved to does not know the connections of the one before, and resets what is under way.
func (l *load) asking(client *lab.Host, target string) probe.Ask {
	return func(ctx context.Context) (string, error) {
		reply, err := client.Echo(ctx, "tcp", target)
		if errors.Is(err, syscall.ECONNRESET) {
			l.resets.Add(1)
			reply, err = client.Echo(ctx, "tcp", target)
		}
		return reply.Node, err
	}
}

func (l *load) stop() {
	l.cancel()
	l.group.Wait()
}

// awaitAnswers returns when every address is served and every connection is open.
func (l *load) awaitAnswers(ctx context.Context) error {
	return await.Until(ctx, outage, 100*time.Millisecond, func() error {
		for i, p := range l.probes {
			if _, answered := p.Counts(); answered < 20 {
				_, err := p.Last()
				return fmt.Errorf("%s has answered %d times: %w", l.addrs[i], answered, err)
			}
		}
		if i := slices.IndexFunc(l.slots, func(s *slot) bool { return !s.open.Load() }); i >= 0 {
			return fmt.Errorf("connection %d to %s is not open", i, l.slots[i].target)
		}
		return nil
	})
}

// requests returns how many were put and which failed, and how late the client was.
func (l *load) requests() (asked int, failed []probe.Failure, late time.Duration) {
	for _, p := range l.probes {
		n, _ := p.Counts()
		asked, failed, late = asked+n, append(failed, p.Failures()...), max(late, p.Late())
	}
	return asked, failed, late
}

// breaks returns how often each connection broke.
func (l *load) breaks() (counts []float64) {
	for _, s := range l.slots {
		counts = append(counts, float64(s.broken.Load()))
	}
	return counts
}
