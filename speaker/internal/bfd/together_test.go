// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Packets that go together keep the intervals that each session has agreed on, and the
// jitter of the RFC, and take a quarter of the wake-ups.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5")
		a := startOn(t, hosts[0], Options{Together: true})
		var others []*node
		for i, h := range hosts[1:] {
			b := startOn(t, h, Options{})
			b.set(t, toA, every(fast))
			a.set(t, Path{Peer: h.address}, every(fast))
			others = append(others, b)
			time.Sleep(time.Duration(i) * 7 * ms) // they do not begin as one
		}
		for i, h := range hosts[1:] {
			a.await(t, Path{Peer: h.address}, Up)
			others[i].await(t, toA, Up)
		}
		time.Sleep(2 * time.Second) // the Poll Sequences
		hosts[0].set(func(h *lanHost) { h.departures = nil })
		time.Sleep(time.Minute)

		var wakeups []time.Time
		last := make(map[netip.Addr]time.Time)
		hosts[0].set(func(h *lanHost) {
			for _, d := range h.departures {
				wakeups = append(wakeups, d.at)
				if before, ok := last[d.to]; ok && (d.at.Sub(before) < fast*3/4 || d.at.Sub(before) > fast+quantum) {
					t.Errorf("%s after the last packet to %s", d.at.Sub(before), d.to)
				}
				last[d.to] = d.at
			}
		})
		if len(last) != 4 {
			t.Errorf("packets to %d peers, want 4", len(last))
		}
		most := int(time.Minute/(fast*3/4)) + 1
		if wakeups = slices.Compact(wakeups); len(wakeups) > most {
			t.Errorf("packets at %d times, want at most %d", len(wakeups), most)
		}
		for i, h := range hosts[1:] {
			if c := append(a.take(Path{Peer: h.address}), others[i].take(toA)...); len(c) != 0 {
				t.Errorf("changes: %+v", c)
			}
		}
	})
}
