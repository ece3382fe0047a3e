// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// asSpeaker has the test program be a speaker that advertises that many routes to a
// peer with graceful restart. Nothing but the end of a process is a crash.
const asSpeaker = "HERALD_TEST_SPEAKER"

// beSpeaker is the speaker. It says when it is up, and never ends by itself.
func beSpeaker(routes string) error {
	n, err := strconv.Atoi(routes)
	if err != nil {
		return err
	}
	r := bgp.New(bgp.Config{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	for i := range n {
		if err := r.Advertise(bgp.PathKey{Peer: "tor", Prefix: nthPrefix(i)}, bgp.Path{}); err != nil {
			return err
		}
	}
	p := peer()
	p.GracefulRestart = true
	r.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
	go func() {
		for range r.Changed() {
			if s := r.Snapshot()["tor"]; s.State == bgp.Established {
				fmt.Println("up")
			}
		}
	}()
	return r.Run(context.Background())
}

// nthPrefix returns one of many prefixes.
func nthPrefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

// startSpeaker starts a speaker and returns once its session is up, with what kills it.
func startSpeaker(t *testing.T, routes int) (crash func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asSpeaker+"="+strconv.Itoa(routes))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	crash = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(crash)
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the speaker has ended before its session was up")
	}
	return crash
}

// RFC 4724: a speaker crashes and comes back with all its routes but one. The router's
// kernel sees one route go, after the whole table, and no other at any time.
func TestGracefulRestart(t *testing.T) {
	const routes = 1000
	for name, start := range routers {
		t.Run(name, func(t *testing.T) {
			at := newSite(t)
			r := start(t, at.Namespace, expecting(bgptest.Neighbor{Address: node4}))
			crash := startSpeaker(t, routes)
			awaitKernel(t, at, routes)
			deleted := bgptest.WatchDeletedRoutes(t, at.Namespace)
			crash()
			startSpeaker(t, routes-1)
			awaitKernel(t, at, routes-1)
			awaitCount(t, r, routes-1)
			if got := deleted(); len(got) != 1 {
				t.Errorf("%d routes were deleted from the router's kernel, want 1: %.5q", len(got), got)
			}
		})
	}
}

// awaitKernel waits until the router's kernel has so many routes of ours.
func awaitKernel(t *testing.T, at site, want int) {
	t.Helper()
	var got int
	linktest.Await(t, func() bool {
		got = bgptest.CountKernelRoutes(t, at.Namespace, "10.0.0.0/8")
		return got == want
	}, func() { t.Logf("the router's kernel has %d routes, want %d", got, want) })
}
