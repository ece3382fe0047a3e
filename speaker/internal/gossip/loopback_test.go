// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
)

// The same over real sockets: the loopback network has room for many addresses.
func TestLoopback(t *testing.T) {
	port := freePort(t)
	dir := t.TempDir()
	writeSecret(t, dir, "a secret")
	nodes := map[lb.NodeName][]netip.Addr{
		"a": {netip.MustParseAddr("127.0.0.1")},
		"b": {netip.MustParseAddr("127.0.0.2")},
		"c": {netip.MustParseAddr("127.0.0.3")},
	}
	members := make(map[lb.NodeName]*Members)
	cancels := make(map[lb.NodeName]func())
	for name, addresses := range nodes {
		m, err := New(Config{Node: name, Bind: addresses[0], Port: port, SecretDir: dir},
			slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		members[name] = m
		cancels[name] = start(t, m)
		m.SetPeers(nodes)
	}
	for _, m := range members {
		await(t, m, 3)
		<-m.Settled()
	}
	cancels["b"]()
	await(t, members["a"], 2)
	await(t, members["c"], 2)
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := New(Config{Node: "a", Bind: netip.MustParseAddr("127.0.0.1"), Port: portOf(l)},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); err == nil {
		t.Error("Run took a port that is in use")
	}
}

// start runs m and returns a function that ends it and waits.
func start(t *testing.T, m *Members) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// await waits for the number of members, by the bell.
func await(t *testing.T, m *Members, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for len(m.Alive()) != n {
		select {
		case <-m.Changed():
		case <-deadline:
			t.Fatalf("%d members, want %d", len(m.Alive()), n)
		}
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return portOf(l)
}

func portOf(l net.Listener) uint16 {
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}
