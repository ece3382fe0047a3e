// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestRouterComesBack(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{}, lb4, lb6)
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer()})
		awaitCount(t, r, 2)
		r.Kill()
		linktest.Await(t, func() bool { return w.Snapshot()["tor"].State != bgp.Established }, func() {})
		w.advertise(t, "tor", bgp.Path{}, "198.51.100.2/32")
		r.Start(t)
		awaitCount(t, r, 3)
	})
}

// A router that makes its neighbors when they come has the routes of the last session,
// however soon after a connection the next one comes; see part.
func TestChangedWhileOpening(t *testing.T) {
	neighbors := expecting(bgptest.Neighbor{Range: netip.MustParsePrefix("192.0.2.0/24")})
	withRouters(t, neighbors, func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{}, lb4)
		p := peer()
		p.HoldTime = 10 * time.Second
		const rounds, changes = 5, 5
		for round := range rounds {
			for change := range changes {
				p.HoldTime += time.Second
				w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
				// A moment in the life of a connection, each time another.
				time.Sleep(time.Duration(change*rounds+round) * 500 * time.Microsecond)
			}
			w.established(t, "tor")
			awaitCount(t, r, 1)
			w.Peers(nil)
			awaitCount(t, r, 0)
		}
	})
}

// BFD's view of it: down at once, and not up before it is released.
func TestHold(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.Hold("tor", "BFD is down")
		w.advertise(t, "tor", bgp.Path{}, lb4)
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer()})
		linktest.Await(t, func() bool { return w.Snapshot()["tor"].Held == "BFD is down" }, func() {})
		w.Release("tor")
		awaitCount(t, r, 1)

		began := time.Now()
		w.Hold("tor", "BFD is down")
		awaitCount(t, r, 0)
		t.Logf("the router has no route %s after Hold", time.Since(began).Round(time.Millisecond))
		opens := w.metric(t, "metallb_bgp_opens_sent")
		// A change of anything else is no release.
		p := peer()
		p.HoldTime = 30 * time.Second
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		w.advertise(t, "tor", bgp.Path{}, lb6)
		quiet(t, 3*time.Second, func() error { // it would have dialled after two
			if now := w.metric(t, "metallb_bgp_opens_sent"); now != opens {
				return fmt.Errorf("a held peer was sent an OPEN")
			}
			return nil
		})
		w.Release("tor")
		awaitCount(t, r, 2)
	})
}

// quiet watches for something that must not happen, for as long as it would take.
func quiet(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-tick.C:
			if err := check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// RFC 8326: first the routes are the last choice, then they are gone.
func TestLeave(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{Communities: []bgp.Community{64500<<16 | 7}}, lb4, lb6)
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer()})
		awaitCount(t, r, 2)
		if err := w.Leave(t.Context(), 0, false); err != nil {
			t.Fatal(err)
		}
		want := external(r, "192.0.2.1")
		want.Communities = []string{"64500:7", "65535:0"}
		if _, ok := r.(*bgptest.FRR); ok {
			want.Communities[1] = "gracefulShutdown"
			want.LocalPref = 0 // FRR prefers every other path
		}
		awaitRoute(t, r, lb4, want)
		// What comes while leaving is the last choice too.
		w.advertise(t, "tor", bgp.Path{Communities: []bgp.Community{64500<<16 | 7}}, "198.51.100.2/32")
		awaitRoute(t, r, "198.51.100.2/32", want)
		w.stop()
		awaitCount(t, r, 0)
		if got := w.Snapshot()["tor"].LastNotification.String(); got != "sent Cease, Administrative Shutdown" {
			t.Errorf("the last NOTIFICATION is %q", got)
		}
	})
}

// A node that is drained asks peers that help a graceful restart, too, and takes it back.
func TestDrain(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{}, lb4)
		p := peer()
		p.GracefulRestart = true
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		plain := external(r, "192.0.2.1")
		awaitRoute(t, r, lb4, plain)
		w.Drain(true)
		asked := external(r, "192.0.2.1")
		asked.Communities = []string{"65535:0"}
		if _, ok := r.(*bgptest.FRR); ok {
			asked.Communities[0] = "gracefulShutdown"
			asked.LocalPref = 0
		}
		awaitRoute(t, r, lb4, asked)
		w.Drain(false)
		awaitRoute(t, r, lb4, plain)
	})
}

func TestLeaveIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRouter(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Leave(ctx, time.Hour, true); err != context.DeadlineExceeded { //nolint:errorlint // it is that one
			t.Errorf("leave: %v, want the end of the context", err)
		}
	})
}

// RFC 5082, and multihop, with a router address that is not on the link.
func TestDistance(t *testing.T) {
	beyond := addr("203.0.113.1")
	for _, test := range []struct {
		name     string
		neighbor bgptest.Neighbor
		peer     bgp.Peer
		up       bool
	}{
		{"GTSM on both sides", bgptest.Neighbor{GTSM: true}, bgp.Peer{Address: router4, MinTTL: 255}, true},
		{"GTSM on the router only", bgptest.Neighbor{GTSM: true}, bgp.Peer{Address: router4}, false},
		{"GTSM on this side only", bgptest.Neighbor{}, bgp.Peer{Address: router4, MinTTL: 255}, false},
		{"multihop", bgptest.Neighbor{Hops: 3, Local: beyond}, bgp.Peer{Address: beyond, MultihopTTL: 3}, true},
		{"multihop with GTSM", bgptest.Neighbor{Hops: 3, Local: beyond, GTSM: true}, bgp.Peer{Address: beyond, MinTTL: 253}, true},
		{"bound to a device", bgptest.Neighbor{}, bgp.Peer{Address: router4, Device: "the link"}, true},
		{"bound to another device", bgptest.Neighbor{}, bgp.Peer{Address: router4, Device: "lo"}, false},
		{"from a source", bgptest.Neighbor{}, bgp.Peer{Address: router4, Source: node4}, true},
		{"with timers", bgptest.Neighbor{}, bgp.Peer{Address: router4, HoldTime: 3 * time.Second, Keepalive: time.Second}, true},
		{"without end", bgptest.Neighbor{}, bgp.Peer{Address: router4, NoHoldTime: true}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.neighbor.Address = node4
			for name, start := range routers {
				if name == "BIRD" && test.neighbor.GTSM && test.neighbor.Hops > 1 {
					continue // it wants 255 minus the hops it is told
				}
				t.Run(name, func(t *testing.T) {
					at := newSite(t)
					at.AddAddress(t, "lo", "203.0.113.1/32")
					addRoute(t, "203.0.113.1/32", "192.0.2.2")
					r := start(t, at.Namespace, expecting(test.neighbor))
					w := run(t)
					w.advertise(t, "tor", bgp.Path{}, lb4)
					p := peer()
					p.Address, p.MinTTL, p.MultihopTTL = test.peer.Address, test.peer.MinTTL, test.peer.MultihopTTL
					p.Device, p.Source = test.peer.Device, test.peer.Source
					if p.Device == "the link" {
						p.Device = at.link
					}
					p.HoldTime, p.Keepalive, p.NoHoldTime = test.peer.HoldTime, test.peer.Keepalive, test.peer.NoHoldTime
					w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
					if test.up {
						awaitCount(t, r, 1)
						return
					}
					// The router's view counts: it checks distances from when it has accepted a
					// connection, and our OPEN may be there before.
					quiet(t, 4*time.Second, func() error {
						if n := r.Count(); n != 0 {
							return fmt.Errorf("the router has %d routes", n)
						}
						return nil
					})
				})
			}
		})
	}
}

func TestUnnumbered(t *testing.T) {
	for name, start := range routers {
		t.Run(name, func(t *testing.T) {
			at := newSite(t)
			r := start(t, at.Namespace, expecting(bgptest.Neighbor{Interface: "eth0"}))
			w := run(t)
			w.advertise(t, "tor", bgp.Path{}, lb4, lb6)
			p := peer()
			p.Address, p.Interface = netip.Addr{}, at.link
			w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
			s := w.established(t, "tor")
			linktest.Await(t, func() bool {
				s = w.Snapshot()["tor"]
				return s.Local.IsLinkLocalUnicast()
			}, func() { t.Logf("the session is from %s", s.Local) })
			hops := []string{s.Local.String()}
			if name == "BIRD" {
				hops = []string{"::", s.Local.String()} // it shows the global one first
			}
			awaitRoute(t, r, lb4, external(r, hops...))
			awaitRoute(t, r, lb6, external(r, hops...))
		})
	}
}

func TestUnnumberedWithoutNeighbor(t *testing.T) {
	at := newSite(t)
	w := run(t)
	w.advertise(t, "tor", bgp.Path{}, lb4)
	p := peer()
	p.Address, p.Interface = netip.Addr{}, at.link
	w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
	w.awaitProblem(t, "tor", "no router advertisement has come on "+at.link)
}
