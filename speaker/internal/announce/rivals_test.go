// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// herdLAN is what one speaker of a herd hears on the LAN: the squatters, and the others.
type herdLAN struct {
	*fakeLAN
	herd *herd
	node string
}

func (f *herdLAN) Who(ctx context.Context, addresses []layer2.Announcement) map[netip.Addr]layer2.Claim {
	found := f.fakeLAN.Who(ctx, addresses)
	f.herd.mu.Lock()
	defer f.herd.mu.Unlock()
	for _, n := range addresses {
		for i, other := range f.herd.nodes {
			_, squatted := found[n.Address]
			if _, answers := f.herd.lans[other].Announced(n.Address); answers && !squatted && other != f.node {
				found[n.Address] = layer2.Claim{Address: n.Address, Interface: "eth0", MAC: [6]byte{2, byte(i)}}
			}
		}
	}
	return found
}

// mind has the speakers of a herd ask who else has an address, until the herd ends.
func (h *herd) mind(c *Config, n string) {
	c.Contests = NewContests(ContestsConfig{Policy: Defend, Inventory: c.Inventory, Events: c.Events, Log: slog.New(slog.DiscardHandler)})
	h.lans[n] = &herdLAN{&fakeLAN{layer2: c.Layer2.(*fakeLayer2)}, h, n}
	c.Contests.LAN = h.lans[n]
	ctx, cancel := context.WithCancel(h.t.Context())
	go func() { _ = c.Contests.Run(ctx) }()
	h.minders = append(h.minders, cancel)
}

// arrive has every speaker hear of the Services in its own order, in the time of some
// milliseconds.
func (h *herd) arrive(addresses []string) {
	for _, s := range h.speakers {
		for _, a := range addresses {
			time.AfterFunc(time.Duration(h.r.IntN(60))*time.Millisecond, func() { add(s.inventory, "web-"+a, a) })
		}
	}
	h.addrs = append(h.addrs, addresses...)
}

// Services that come at once are seen in different orders, and for a moment speakers may
// differ on whose they are. Each is announced by one in the end, and a station that has
// the address of one of them is found by that one.
func TestSquatterAmongRivals(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			h := newHerd(t, seed, Failback(seed%2), (*herd).mind)
			defer h.end()
			squatted := "192.0.2.200"
			for _, n := range h.nodes {
				h.lans[n].set(squatted, squatter)
			}
			others := []string{fmt.Sprintf("192.0.2.%d", 100+h.r.IntN(50)), fmt.Sprintf("192.0.2.%d", 202+h.r.IntN(50))}
			h.arrive(append(others, squatted))
			h.pass(10 * time.Second)
			what := fmt.Sprintf("seed %d, %d nodes", seed, len(h.nodes))
			owner := h.owners(what, h.nodes...)[squatted]
			if t.Failed() {
				return
			}
			if _, found := h.speakers[owner].Contests.all()[netip.MustParseAddr(squatted)]; !found {
				t.Errorf("%s: %s announces an address that another station has, and does not know", what, owner)
			}
		})
	}
}
