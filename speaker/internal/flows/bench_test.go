// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/flows"
)

// BenchmarkKeep makes entries of one family, or replaces them.
func BenchmarkKeep(b *testing.B) {
	for _, count := range []int{1, 500, 10_000} {
		m := only4(addresses(count, nodeA, nodeA6))
		all := slices.Collect(maps.Keys(m))
		b.Run(fmt.Sprintf("new/entries=%d", count), func(b *testing.B) {
			newNode(b).do(func(t *flows.Table) error {
				for b.Loop() {
					if err := t.Keep(m, time.Hour); err != nil {
						return err
					}
					b.StopTimer()
					if err := t.Remove(all...); err != nil {
						return err
					}
					b.StartTimer()
				}
				return nil
			})
		})
		b.Run(fmt.Sprintf("replaced/entries=%d", count), func(b *testing.B) {
			newNode(b).do(func(t *flows.Table) error {
				before := processorTime(b)
				for b.Loop() {
					if err := t.Keep(m, time.Hour); err != nil {
						return err
					}
				}
				b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
				return nil
			})
		})
	}
}

// BenchmarkEcho sends 16 MiB to the Service and back, with an address that has not
// moved, without and with rules on its node, and with one that has moved. cpu-ms
// is what this process, which is client and server, and the kernel on its behalf
// have spent.
func BenchmarkEcho(b *testing.B) {
	const size = 16 << 20
	for _, test := range []struct {
		name    string
		prepare func(*world) *connection
	}{
		{"stays,no_table", func(w *world) *connection {
			w.move(w.b)
			return w.open(w.b)
		}},
		{"stays,others_moved", func(w *world) *connection {
			w.b.do(keep(addresses(500, w.a.address, nodeA6), time.Hour))
			w.move(w.b)
			return w.open(w.b)
		}},
		{"moved", func(w *world) *connection {
			w.move(w.a)
			c := w.open(w.a)
			w.b.keep(w.a, time.Hour)
			w.move(w.b)
			return c
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			c := test.prepare(newWorld(b, lan4))
			must(b, c.echo(size))
			b.SetBytes(size)
			before := processorTime(b)
			for b.Loop() {
				must(b, c.echo(size))
			}
			b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime is what the process has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
