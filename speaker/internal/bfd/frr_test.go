// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

var (
	peer4 = Path{Peer: netip.MustParseAddr("192.0.2.2")}
	peer6 = Path{Peer: netip.MustParseAddr("2001:db8::2")}
	hops4 = Path{Peer: netip.MustParseAddr("192.0.2.2"), Local: netip.MustParseAddr("192.0.2.1"), Multihop: true}
	hops6 = Path{Peer: netip.MustParseAddr("2001:db8::2"), Local: netip.MustParseAddr("2001:db8::1"), Multihop: true}
	link6 = Path{Peer: netip.MustParseAddr("fe80::2"), Interface: "host0"}
)

// every returns a Config with an interval for both directions.
func every(d time.Duration) Config { return Config{TransmitInterval: d, ReceiveInterval: d} }

// fast is for what is about speed. What is not is steady: a machine that is busy
// with other tests shall not fail it.
const (
	fast   = 50 * time.Millisecond
	steady = 400 * time.Millisecond
)

// upFRR returns a session over peer4 that is up, with FRR at the other end. Both
// ends use the interval.
func upFRR(t testing.TB, interval time.Duration) (*router, *node) {
	t.Helper()
	ms := interval.Milliseconds()
	r := frr(t, fmt.Sprintf("bfd\n peer 192.0.2.1\n  receive-interval %d\n  transmit-interval %d\n", ms, ms))
	n := newNode(t)
	n.set(t, peer4, every(interval))
	n.await(t, peer4, Up)
	r.awaitPeer(t, "192.0.2.1", func(p frrPeer) bool { return p.Status == "up" })
	n.settled(t, peer4, interval, 3*interval)
	return r, n
}

// settled waits until a session has agreed on its intervals.
func (n *node) settled(t testing.TB, p Path, transmit, detection time.Duration) {
	t.Helper()
	var st Status
	linktest.Await(t, func() bool {
		st, _ = n.Status(p)
		return st.State == Up && st.TransmitInterval == transmit && st.DetectionTime == detection
	}, func() { t.Logf("session is %+v, want %s and %s", st, transmit, detection) })
}

func (r *router) awaitPeer(t testing.TB, address string, done func(frrPeer) bool) frrPeer {
	t.Helper()
	var p frrPeer
	linktest.Await(t, func() bool { p = r.peer(t, address); return done(p) }, func() { t.Logf("FRR says %+v", p) })
	return p
}

func TestFRRUp(t *testing.T) {
	r := frr(t, `
bfd
 peer 192.0.2.1
 peer 2001:db8::1 local-address 2001:db8::2
 peer fe80::1 local-address fe80::2 interface eth0
 peer 192.0.2.1 multihop local-address 192.0.2.2
 peer 2001:db8::1 multihop local-address 2001:db8::2
`)
	n := newNode(t)
	local6 := link6
	local6.Local = netip.MustParseAddr("fe80::1")
	paths := []Path{peer4, peer6, local6, hops4, hops6}
	for _, p := range paths {
		n.set(t, p, every(fast))
	}
	for _, p := range paths {
		n.await(t, p, Up)
	}
	explain := func() { t.Log(string(r.vtysh(t, "show bfd peers"))) }
	linktest.Await(t, func() bool {
		return strings.Count(string(r.vtysh(t, "show bfd peers")), "Status: up") == len(paths)
	}, explain)
}

// The peer stops, or the link to it. The longest silence is the Detection Time.
func TestFRRDetection(t *testing.T) {
	failures := map[string]struct{ fail, recover func(t *testing.T, r *router) }{
		"process stopped": {
			func(_ *testing.T, r *router) { _ = r.daemon.Process.Signal(syscall.SIGSTOP) },
			func(_ *testing.T, r *router) { _ = r.daemon.Process.Signal(syscall.SIGCONT) },
		},
		"link cut": {
			func(t *testing.T, r *router) { r.Down(t, "eth0") },
			func(t *testing.T, r *router) { r.Up(t, "eth0") },
		},
	}
	for _, interval := range []time.Duration{fast, 2 * fast} {
		for name, f := range failures {
			t.Run(fmt.Sprintf("%s, %s x 3", name, interval), func(t *testing.T) {
				r, n := upFRR(t, interval)
				for range 3 {
					n.calm(t, peer4)
					begin := time.Now()
					f.fail(t, r)
					c := n.await(t, peer4, Down)
					if checkDetection(t, c, begin, interval) {
						return
					}
					f.recover(t, r)
				}
				t.Error("not noticed as it should be, three times")
			})
		}
	}
}

// checkDetection says whether a neighbor that failed at the time begin was noticed
// as it should be. The last packet came up to an interval before. A busy machine
// is late: by less than an interval it does not say so.
func checkDetection(t *testing.T, c timed, begin time.Time, interval time.Duration) bool {
	t.Helper()
	took := c.at.Sub(begin)
	t.Logf("%s: noticed after %s, own timers late by %s", c.Path.Peer, took.Round(time.Millisecond), c.SelfLate)
	if !c.Failure() || c.Diagnostic != ControlDetectionTimeExpired {
		t.Logf("got %+v, want a failure by silence", c)
		return false
	}
	if most := 4*interval + c.SelfLate; took < interval || took > most {
		t.Logf("noticed after %s, want from %s to %s", took, interval, most)
		return false
	}
	return true
}

// A neighbor that is stopped and goes on is found again.
func TestFRRRecovers(t *testing.T) {
	r, n := upFRR(t, steady)
	_ = r.daemon.Process.Signal(syscall.SIGSTOP)
	n.await(t, peer4, Down)
	_ = r.daemon.Process.Signal(syscall.SIGCONT)
	n.await(t, peer4, Up)
	n.settled(t, peer4, steady, 3*steady)
}

func TestFRRSeesFarewell(t *testing.T) {
	leave := map[string]func(n *node){
		"end":    func(n *node) { n.stop() },
		"remove": func(n *node) { n.Remove(peer4) },
		"held down": func(n *node) {
			c := every(steady)
			c.AdminDown = true
			n.set(t, peer4, c)
		},
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			r, n := upFRR(t, steady)
			begin := time.Now()
			leave(n)
			took := time.Since(begin)
			p := r.awaitPeer(t, "192.0.2.1", func(p frrPeer) bool { return p.Status == "down" })
			if p.RemoteDiagnostic != "administratively down" || p.Diagnostic != "neighbor signaled session down" {
				t.Errorf("FRR says %+v, want that we are administratively down", p)
			}
			if took > DefaultFarewell/2 {
				t.Errorf("the farewell took %s although the peer was there", took)
			}
		})
	}
}

// The peer goes down on purpose: no failure, and known as such.
func TestFRRSaysFarewell(t *testing.T) {
	r, n := upFRR(t, steady)
	r.vtysh(t, "configure terminal", "bfd", "peer 192.0.2.1", "shutdown")
	c := n.await(t, peer4, Down)
	if c.Failure() || !c.AdministrativelyDown() || c.Diagnostic != NeighborSignaledDown || c.RemoteState != AdminDown {
		t.Errorf("got %+v, want that the peer is administratively down", c)
	}
	r.vtysh(t, "configure terminal", "bfd", "peer 192.0.2.1", "no shutdown")
	if c := n.await(t, peer4, Up); c.AdministrativelyDown() {
		t.Errorf("got %+v, want no trace of the farewell", c)
	}
}

// Both ends change their intervals while the session goes on.
func TestFRRIntervalsChangeLive(t *testing.T) {
	r, n := upFRR(t, steady)
	slow := 2 * steady
	n.set(t, peer4, Config{TransmitInterval: slow, ReceiveInterval: slow, DetectMultiplier: 4})
	r.awaitPeer(t, "192.0.2.1", func(p frrPeer) bool {
		return p.RemoteTransmit == 800 && p.RemoteReceive == 800 && p.RemoteMultiplier == 4
	})
	n.settled(t, peer4, slow, 3*slow)
	n.set(t, peer4, every(steady))
	n.settled(t, peer4, steady, 3*steady)
	r.vtysh(t, "configure terminal", "bfd", "peer 192.0.2.1", "receive-interval 600", "transmit-interval 500", "detect-multiplier 5")
	n.settled(t, peer4, 600*time.Millisecond, 5*500*time.Millisecond)
	if changes := n.take(peer4); len(changes) != 0 {
		t.Errorf("the session has changed its state: %+v", changes)
	}
	if p := r.peer(t, "192.0.2.1"); p.SessionDown != 0 {
		t.Errorf("FRR says that the session was down: %+v", p)
	}
}

// A passive system waits; then it is as any other.
func TestFRRPassive(t *testing.T) {
	r := frr(t, "bfd\n")
	n := newNode(t)
	c := every(fast)
	c.Passive = true
	n.set(t, peer4, c)
	if n.counters(peer4).controlOut != 0 {
		t.Error("a passive system has spoken first")
	}
	r.vtysh(t, "configure terminal", "bfd", "peer 192.0.2.1")
	n.await(t, peer4, Up)
}

// Echo packets of both ends are looped back by the kernel of the other. When that
// ceases, the session fails although control packets still come.
func TestFRREcho(t *testing.T) {
	r := frr(t, "bfd\n peer 192.0.2.1 interface eth0\n  echo-mode\n")
	r.host.Sysctl(t, "net/ipv4/ip_forward", "1")
	n := newNode(t)
	n.set(t, peer4, Config{Echo: true})
	n.await(t, peer4, Up)
	linktest.Await(t, func() bool { st, _ := n.Status(peer4); return st.Echo },
		func() { t.Logf("no echo came back: %+v", n.counters(peer4)) })
	r.awaitPeer(t, "192.0.2.1", func(p frrPeer) bool {
		return p.RemoteEchoInterval == 50 && p.EchoInput > 3
	})
	n.calm(t, peer4)
	begin := time.Now()
	r.Sysctl(t, "net/ipv4/ip_forward", "0")
	c := n.await(t, peer4, Down)
	t.Logf("noticed after %s", c.at.Sub(begin).Round(time.Millisecond))
	if c.Diagnostic != EchoFunctionFailed || !c.Failure() {
		t.Errorf("got %+v, want a failure of the echo function", c)
	}
	if took := c.at.Sub(begin); took > 250*time.Millisecond+c.SelfLate {
		t.Errorf("noticed after %s, want three echo intervals", took)
	}
	r.Sysctl(t, "net/ipv4/ip_forward", "1")
	linktest.Await(t, func() bool { st, _ := n.Status(peer4); return st.State == Up && st.Echo },
		func() { t.Logf("the echo function does not recover: %+v", n.counters(peer4)) })
	n.calm(t, peer4)
}

// A machine that is busy is no failed path.
func TestFRRNoFlapsUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("loads the machine for 20 s")
	}
	r, n := upFRR(t, fast)
	n.calm(t, peer4)
	for range 6 {
		r.start(t, "/bin/sh", "-c", "while :; do :; done")
	}
	worst := canary(20 * time.Second)
	t.Logf("a thread that only sleeps was up to %s late", worst.Round(time.Millisecond))
	changes, peer := n.take(peer4), r.peer(t, "192.0.2.1")
	if len(changes) == 0 && peer.SessionDown == 0 {
		return
	}
	if worst > fast {
		t.Skipf("this machine lets threads wait for %s, which no session of 50ms x 3 survives: %d changes", worst, len(changes))
	}
	t.Errorf("the session has changed: %+v; FRR says %+v", changes, peer)
}

// canary is how late a thread can be that does nothing but sleep, for some time.
func canary(d time.Duration) (worst time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nap := syscall.NsecToTimespec(int64(10 * time.Millisecond))
	for begin := time.Now(); time.Since(begin) < d; {
		at := time.Now()
		_ = syscall.Nanosleep(&nap, nil)
		worst = max(worst, time.Since(at)-10*time.Millisecond)
	}
	return worst
}
