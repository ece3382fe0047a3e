// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// The world of the wire tests: the test process is the node, a router is in a namespace
// at the other end of a link.
const (
	nodeASN = 64500
	peerASN = 64501
)

// links counts the links there have been: net remembers for a minute which index a
// name had, so that each gets a name of its own.
var links atomic.Int32

// site is where a router is, and the interface of the node that leads there.
type site struct {
	*linktest.Namespace
	host *linktest.Namespace
	link string
}

var (
	node4   = netip.MustParseAddr("192.0.2.1")
	node6   = netip.MustParseAddr("2001:db8::1")
	router4 = netip.MustParseAddr("192.0.2.2")
	router6 = netip.MustParseAddr("2001:db8::2")
)

// newSite makes the link.
func newSite(t testing.TB) site {
	t.Helper()
	host, router := linktest.Host(t), linktest.New(t)
	nodeLink := fmt.Sprintf("node%d", links.Add(1))
	host.Veth(t, nodeLink, router, "eth0")
	t.Cleanup(func() { host.Delete(t, nodeLink) })
	host.Up(t, "lo")
	router.Up(t, "lo")
	host.AddAddress(t, nodeLink, "192.0.2.1/24")
	host.AddAddress(t, nodeLink, "2001:db8::1/64")
	router.AddAddress(t, "eth0", "192.0.2.2/24")
	router.AddAddress(t, "eth0", "2001:db8::2/64")
	host.Up(t, nodeLink)
	router.Up(t, "eth0")
	return site{router, host, nodeLink}
}

// world is a Router that runs.
type world struct {
	*bgp.Router
	registry *prometheus.Registry
	stop     func()
}

// newRouter returns a Router that does not run.
func newRouter(t testing.TB) *world {
	t.Helper()
	registry := prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	return &world{Router: bgp.New(bgp.Config{Log: log, Registerer: registry}), registry: registry}
}

// run runs a Router until the test ends, or until stop.
func run(t testing.TB) *world {
	t.Helper()
	w := newRouter(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var done bool
	w.stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(w.stop)
	return w
}

// advertise advertises to a peer, and fails the test if that is refused.
func (w *world) advertise(t testing.TB, peer bgp.PeerName, p bgp.Path, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		if err := w.Advertise(bgp.PathKey{Peer: peer, Prefix: netip.MustParsePrefix(prefix)}, p); err != nil {
			t.Fatal(err)
		}
	}
}

// peer is the router by IPv4, as an external one.
func peer() bgp.Peer {
	return bgp.Peer{
		Address: router4, LocalASN: nodeASN, RemoteASN: peerASN, RouterID: node4,
		Families: bgp.IPv4Unicast | bgp.IPv6Unicast,
	}
}

// established waits until the session is up.
func (w *world) established(t testing.TB, name bgp.PeerName) bgp.Session {
	t.Helper()
	var s bgp.Session
	linktest.Await(t, func() bool {
		s = w.Snapshot()[name]
		return s.State == bgp.Established
	}, func() { t.Logf("%s: %s, problem %v, %s", name, s.State, s.Problem, s.LastNotification) })
	return s
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// community is how routers write one.
func community(high, low int) string { return strconv.Itoa(high) + ":" + strconv.Itoa(low) }

// metric returns the value of a metric that has one.
func (w *world) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no one %s", name)
	return 0
}

// addRoute adds a route of the node.
func addRoute(t testing.TB, to, via string) {
	t.Helper()
	if out, err := exec.Command("ip", "route", "replace", to, "via", via).CombinedOutput(); err != nil {
		t.Fatalf("add a route: %s", out)
	}
}
