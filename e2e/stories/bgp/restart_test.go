// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
	"github.com/herald-lb/herald/e2e/lab"
)

// requests is how many a restart is to cost none of.
const requests = 10_000

// With graceful restart, speakers that are replaced one after another, or that crash, cost
// no route on either router, and no request.
func TestGracefulRestart(t *testing.T) {
	s := begin(t, 0, 1, 2)
	s.givenPeers(false, ", enableGracefulRestart: true")
	s.advertise("all", "{}")
	addresses := [2]netip.Addr{s.givenService("web", "Local")[0], s.givenService("behind-bird", "Local", behindBIRD())[0]}
	ask := s.keepAskingBoth(addresses, "tcp") // when the routers forward to all nodes
	changes := [2]func() []string{
		s.watchForwarding(s.frr().Host, host(addresses[0])), s.watchForwarding(s.bird().Host, host(addresses[1])),
	}
	s.restartSpeakers()
	for _, r := range s.routers {
		// Stale routes are kept once: whoever crashes again before it has said what it still
		// has, and End-of-RIB, loses them (RFC 4724, 4.2).
		s.expectMetric(s.nodes[0], fmt.Sprintf(`metallb_bgp_updates_total{peer="%s:179",vrf=""}`, r.peer(false)), atLeast(2))
	}
	before, err := s.lab.PID(s.nodes[0] + "/speaker")
	s.must(err)
	s.must(s.lab.Kill(s.nodes[0] + "/speaker"))
	s.await(patience, "another speaker", func() error {
		if after, err := s.lab.PID(s.nodes[0] + "/speaker"); err != nil || after == 0 || after == before {
			return fmt.Errorf("process %d, error %w", after, err)
		}
		return nil
	})
	ask.expectNoFailure()
	for i, r := range s.routers {
		s.expectRoute(r, host(addresses[i]), s.nodes)
		if all := changes[i](); len(all) > 0 {
			t.Errorf("%s forwards differently during the restarts:\n%s", r.name(), strings.Join(all, "\n"))
		}
	}
}

// Without it, speakers take their leave: routers are asked to prefer other nodes, and
// have done so before the routes go.
//
// The questions are datagrams. A router without resilient hashing sends some connections
// that are under way to other nodes whenever a node comes or goes, whoever advertises.
func TestGracefulLeave(t *testing.T) {
	s := begin(t, 0, 1, 2)
	s.givenPeers(false, "")
	s.advertise("all", "{}")
	addresses := [2]netip.Addr{s.givenService("web", "Local")[0], s.givenService("behind-bird", "Local", behindBIRD())[0]}
	ask := s.keepAskingBoth(addresses, "udp")
	asked := [2]func() bool{s.watchFarewell(s.frr(), host(addresses[0])), s.watchFarewell(s.bird(), host(addresses[1]))}
	s.restartSpeakers()
	ask.expectNoFailure()
	for i, r := range s.routers {
		if !asked[i]() {
			t.Errorf("%s was not asked to prefer other nodes (GRACEFUL_SHUTDOWN, RFC 8326)", r.name())
		}
	}
	for i, r := range s.routers {
		s.expectRoute(r, host(addresses[i]), s.nodes)
	}
}

func (s *story) restartSpeakers() {
	s.Helper()
	s.kubectl("-n", heraldNS, "rollout", "restart", "daemonset/speaker")
	s.kubectl("-n", heraldNS, "rollout", "status", "daemonset/speaker", "--timeout=90s")
}

// clients are one beyond each router.
type clients struct {
	*story
	records [2]*probe.Probe
	stop    [2]func()
}

// keepAskingBoth has a client beyond each router ask all the time.
func (s *story) keepAskingBoth(addresses [2]netip.Addr, protocol string) *clients {
	s.Helper()
	c := &clients{story: s}
	for i, r := range s.routers {
		s.expectRoute(r, host(addresses[i]), s.nodes)
		s.expectForwarding(r, addresses[i], len(s.nodes))
		s.expectAnswer(addresses[i])
	}
	for i := range s.routers {
		c.records[i], c.stop[i] = s.keepAsking(addresses[i], 2*time.Millisecond, 2*time.Second, protocol)
	}
	return c
}

// expectNoFailure waits until enough has been asked, and fails if any of it was not
// answered.
func (c *clients) expectNoFailure() {
	c.Helper()
	c.await(2*patience, "requests", func() error {
		all := 0
		for _, record := range c.records {
			_, answered := record.Counts()
			all += answered + len(record.Failures())
		}
		if all < requests {
			return fmt.Errorf("%d so far", all)
		}
		return nil
	})
	for i, record := range c.records {
		c.stop[i]()
		asked, answered := record.Counts()
		failures := record.Failures()
		c.Logf("through %s: %d of %d answered; longest time without an answer %v; late by %v", c.routers[i].name(),
			answered, asked, record.Longest().Length.Round(time.Millisecond), record.Late().Round(time.Millisecond))
		for _, f := range failures[:min(len(failures), 10)] {
			c.Errorf("a request through %s failed that was asked at %s: %v", c.routers[i].name(), f.Asked.Format("15:04:05.000"), f.Err)
		}
	}
}

// watchFarewell looks for paths with GRACEFUL_SHUTDOWN. The function it returns ends that,
// and says whether there was one.
func (s *story) watchFarewell(r router, prefix netip.Prefix) func() bool {
	ctx, cancel := context.WithCancel(s.ctx)
	seen := make(chan bool, 1)
	leaving := func(p path) bool {
		return slices.Contains(p.communities, "65535:0") || slices.Contains(p.communities, "graceful-shutdown")
	}
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			if paths, _ := r.paths(ctx, prefix); slices.ContainsFunc(paths, leaving) {
				seen <- true
				return
			}
		}
		seen <- false
	}()
	s.Cleanup(cancel)
	return func() bool { cancel(); return <-seen }
}

// watchForwarding notes what happens to routes to the prefix in the kernel of a router. The
// function it returns ends that, and says what it was.
func (s *story) watchForwarding(r *lab.Host, prefix netip.Prefix) func() []string {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	monitor := r.Command(ctx, "ip", "-ts", "-o", "monitor", "route", "nexthop")
	out, err := monitor.StdoutPipe()
	if err == nil {
		err = monitor.Start()
	}
	s.must(err)
	changes := make(chan []string, 1)
	go func() {
		var all []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			if strings.Contains(line, "Deleted id ") {
				continue // FRR deletes a group when nothing has used it for minutes
			}
			if strings.Contains(line, prefix.Addr().String()+" ") || strings.Contains(line, "id ") {
				all = append(all, line)
			}
		}
		_ = monitor.Wait() // it has been killed
		changes <- all
	}()
	s.Cleanup(cancel)
	return func() []string { cancel(); return <-changes }
}
