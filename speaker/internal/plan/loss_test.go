// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// lose makes members go, and puts in again what Lose asks for and what is shared.
func (o *owned) lose(w *world, gone []lb.NodeName) {
	for _, name := range gone {
		delete(w.members, name)
	}
	again := o.Lose(w.view("node-0"), gone, func(a netip.Addr) []lb.NodeName { return []lb.NodeName{o.claims[a]} })
	for a, s := range o.sharers {
		if len(s) > 1 {
			again = append(again, a)
		}
	}
	for _, a := range again {
		o.put(a, o.sharers[a])
	}
}

// After a loss everything is as a fresh look finds it, also what was not looked at, and
// whatever else changes before and after.
func TestLossHasNoMemory(t *testing.T) {
	forEachWorld(t, func(t *testing.T, r *rand.Rand, w *world) {
		now := newOwned(w.view("node-0"))
		full := w.sharers()
		addresses := slices.SortedFunc(maps.Keys(full), netip.Addr.Compare)
		if len(addresses) == 0 {
			return
		}
		for range 6 {
			for range r.IntN(40) {
				a := addresses[r.IntN(len(addresses))]
				if r.IntN(3) > 0 {
					now.claims[a] = w.nodes[r.IntN(len(w.nodes))].Name
				}
				now.put(a, pick(r, full[a], 0.7))
			}
			now.settle()
			now.lose(w, pick(r, slices.Sorted(maps.Keys(w.members)), 0.2))
			now.settle()
			fresh := newOwned(w.view("node-0"))
			fresh.claims = now.claims
			fresh.all(now.sharers)
			if diff := cmp.Diff(fresh.verdicts, now.verdicts, equateAddrs); diff != "" {
				t.Errorf("another history, other verdicts (-fresh +lost):\n%s", diff)
			}
		}
	})
}
