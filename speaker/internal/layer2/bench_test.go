// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/layer2/layer2test"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// BenchmarkAnswers measures, for ten thousand addresses, how fast they are
// answered for, and beside it how fast the kernel at the same end of the same
// link answers for an address of its own.
func BenchmarkAnswers(b *testing.B) {
	linktest.Require(b)
	announcer, host, client := wired(b)
	host.AddAddress(b, "host0", "10.9.255.1/16")
	client.AddAddress(b, "eth0", "10.9.255.9/16")
	const n = 10_000
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		if err := announcer.Announce(layer2.Announcement{Address: a}); err != nil {
			b.Fatal(err)
		}
	}
	load := layer2test.Load{
		Interface: "eth0", Source: netip.MustParseAddr("10.9.255.9"), Duration: time.Second,
	}
	for _, window := range []int{1, 32} {
		load.Window = window
		load.First, load.Count = netip.MustParseAddr("10.9.255.1"), 1
		limit := measure(b, client, fmt.Sprintf("window=%d/kernel", window), load, 0)
		load.First, load.Count = netip.MustParseAddr("10.9.0.0"), n
		measure(b, client, fmt.Sprintf("window=%d/herald", window), load, limit)
	}
}

// measure runs a load and reports it beside a limit, unless that is 0.
func measure(b *testing.B, client *linktest.Namespace, name string, load layer2test.Load, limit float64) (perSecond float64) {
	b.Run(name, func(b *testing.B) {
		var r layer2test.LoadResult
		for b.Loop() {
			err := client.Enter(func() (err error) {
				r, err = load.Run(context.Background())
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(r.PerSecond, "answers/s")
		b.ReportMetric(float64(r.P50.Microseconds()), "p50-us")
		b.ReportMetric(float64(r.P99.Microseconds()), "p99-us")
		b.ReportMetric(float64(r.Lost), "lost")
		if limit > 0 {
			b.ReportMetric(r.PerSecond/limit, "ratio")
		}
		perSecond = r.PerSecond
	})
	return perSecond
}
