// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/flows"
)

// BenchmarkKeep makes entries of one family, or replaces them.
func BenchmarkKeep(b *testing.B) {
	for _, count := range []int{1, 500, 10_000} {
		m := addresses(count, nodeA, nodeA6)
		maps.DeleteFunc(m, func(a, _ netip.Addr) bool { return a.Is6() })
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
				for b.Loop() {
					if err := t.Keep(m, time.Hour); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}
