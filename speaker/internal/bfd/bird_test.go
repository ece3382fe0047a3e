// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

const birdConfig = `
protocol bfd {
  interface "*" { min rx interval 50 ms; min tx interval 50 ms; idle tx interval 1 s; multiplier 3; };
  multihop { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; };
  neighbor 192.0.2.1;
  neighbor 2001:db8::1;
  neighbor fe80::1%eth0;
  neighbor 192.0.2.3 local 192.0.2.4 multihop;
}
`

func TestBIRDUpAndDetection(t *testing.T) {
	r := birdRouter(t, birdConfig)
	n := newNode(t)
	// BIRD has one session with an address.
	hops4 := Path{Peer: netip.MustParseAddr("192.0.2.4"), Local: netip.MustParseAddr("192.0.2.3"), Multihop: true}
	paths := []Path{peer4, peer6, link6, hops4}
	for _, p := range paths {
		c := every(fast)
		c.MinimumTTL = 64 // over several hops BIRD sends with what the kernel has
		n.set(t, p, c)
	}
	for _, p := range paths {
		n.await(t, p, Up)
		n.settled(t, p, fast, 3*fast)
	}
	linktest.Await(t, func() bool { return strings.Count(r.birdc(t, "show bfd sessions"), " Up ") == len(paths) },
		func() { t.Log(r.birdc(t, "show bfd sessions")) })

	n.calm(t, paths...)
	begin := time.Now()
	_ = r.daemon.Process.Signal(syscall.SIGSTOP)
	for _, p := range paths {
		if !checkDetection(t, n.await(t, p, Down), begin, fast) {
			t.Errorf("%+v: not noticed as it should be", p)
		}
	}
	_ = r.daemon.Process.Signal(syscall.SIGCONT)
	for _, p := range paths {
		n.await(t, p, Up)
	}
	n.stop()
	if out := r.birdc(t, "show bfd sessions"); strings.Contains(out, " Up ") {
		t.Errorf("sessions are still up after the farewell:\n%s", out)
	}
}

// A packet that has passed a router is not believed on a single hop (RFC 5881,
// section 5), whatever it says; the same packet from the link is.
func TestBIRDForgery(t *testing.T) {
	r := birdRouter(t, birdConfig)
	n := newNode(t)
	n.set(t, peer4, every(steady))
	n.await(t, peer4, Up)
	n.settled(t, peer4, steady, 3*steady)

	n.Sessions.mu.Lock()
	forged := Packet{State: Down, DetectMultiplier: 3, MyDiscriminator: 99, YourDiscriminator: n.byPath[peer4].machine.local}
	n.Sessions.mu.Unlock()
	for _, ttl := range []int{64, 254} {
		r.forge(t, ttl, forged)
	}
	before := n.counters(peer4).controlIn
	linktest.Await(t, func() bool { return n.counters(peer4).controlIn > before+2 }, func() {})
	if changes := n.take(peer4); len(changes) != 0 {
		t.Errorf("a forgery from afar was believed: %+v", changes)
	}
	r.forge(t, 255, forged)
	if c := n.await(t, peer4, Down); c.Diagnostic != NeighborSignaledDown {
		t.Errorf("got %+v", c)
	}
}

// forge sends a packet from the address of the router.
func (r *router) forge(t testing.TB, ttl int, p Packet) {
	t.Helper()
	var s sender
	err := r.Enter(func() (err error) {
		path := Path{Peer: netip.MustParseAddr("192.0.2.1"), Local: netip.MustParseAddr("192.0.2.2")}
		if s, err = (kernel{}).open(path, 60000); err != nil {
			return err
		}
		return syscall.SetsockoptInt(s.(*udpSender).fd, syscall.IPPROTO_IP, syscall.IP_TTL, ttl)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.send(p.append(nil)); err != nil {
		t.Fatal(err)
	}
}
