// SPDX-License-Identifier: Apache-2.0

package whatif_test

import (
	"fmt"
	"testing"

	"github.com/herald-lb/herald/internal/whatif"
)

// BenchmarkSimulate is a pool shrunk by half of what is in use, under that many Services.
func BenchmarkSimulate(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			texts := make([]string, n)
			for i := range texts {
				texts[i] = fmt.Sprintf("s%d a 10.0.%d.%d", i, i/256, i%256)
			}
			snapshot := whatif.Snapshot{Objects: pools("a 10.0.0.0/8"), Claims: claims(texts...)}
			half := pools(fmt.Sprintf("a 10.0.%d.%d-10.255.255.255", n/2/256, n/2%256))
			for b.Loop() {
				if got := whatif.Simulate(snapshot, half).Count()[whatif.Move]; got != n/2 {
					b.Fatalf("%d Services move, want %d", got, n/2)
				}
			}
		})
	}
}
