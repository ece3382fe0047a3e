// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

var (
	toA = Path{Peer: netip.MustParseAddr("192.0.2.1")}
	toB = Path{Peer: netip.MustParseAddr("192.0.2.2")}
)

// pair is two nodes on a lan whose session is up at both ends.
type pair struct {
	hosts []*lanHost
	a, b  *node
}

func newPair(t *testing.T, interval time.Duration) *pair {
	t.Helper()
	_, hosts := newLAN("192.0.2.1", "192.0.2.2")
	p := &pair{hosts: hosts, a: startOn(t, hosts[0], Options{}), b: startOn(t, hosts[1], Options{})}
	p.a.set(t, toB, every(interval))
	p.b.set(t, toA, every(interval))
	p.a.await(t, toB, Up)
	p.b.await(t, toA, Up)
	time.Sleep(2 * time.Second) // the Poll Sequences
	return p
}

func TestSessionsComeUpAndStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.a.set(t, toB, every(fast)) // again: no effect
		time.Sleep(time.Minute)
		for _, x := range []struct {
			n    *node
			path Path
		}{{p.a, toB}, {p.b, toA}} {
			got, ok := x.n.Status(x.path)
			want := Status{State: Up, RemoteState: Up, TransmitInterval: fast, DetectionTime: 3 * fast}
			if diff := cmp.Diff(want, got); !ok || diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if changes := x.n.take(x.path); len(changes) != 0 {
				t.Errorf("changes: %+v", changes)
			}
		}
		// Each 37.5 to 50 ms in a minute, and the grain of the timer.
		if out := p.a.counters(toB).controlOut; out < 60_000/51 || out > 62_000/37 {
			t.Errorf("%d packets in a minute", out)
		}
	})
}

func TestCutIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[1].set(func(h *lanHost) { h.cut = true })
		begin := time.Now()
		c := p.a.await(t, toB, Down)
		if took := c.at.Sub(begin); took < 2*fast || took > 3*fast+2*ms {
			t.Errorf("noticed after %s", took)
		}
		if !c.Failure() || c.SelfLate != 0 || c.Diagnostic != ControlDetectionTimeExpired {
			t.Errorf("got %+v, want a failure, and no doubt about ourselves", c)
		}
		if c := p.b.await(t, toA, Down); !c.Failure() || c.Diagnostic != NeighborSignaledDown {
			t.Errorf("the other end got %+v, want a failure told by the neighbor", c)
		}
		p.hosts[1].set(func(h *lanHost) { h.cut = false })
		p.a.await(t, toB, Up)
	})
}

func TestEndIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		begin := time.Now()
		p.a.stop()
		if took := time.Since(begin); took > 10*ms {
			t.Errorf("the farewell took %s although the peer was there", took)
		}
		c := p.b.await(t, toA, Down)
		if c.Failure() || !c.AdministrativelyDown() || c.RemoteDiagnostic != AdministrativelyDown {
			t.Errorf("got %+v, want that the peer went down on purpose", c)
		}
		time.Sleep(time.Minute)
		if changes := p.b.take(toA); len(changes) != 0 {
			t.Errorf("the silence afterwards is reported: %+v", changes)
		}
	})
}

// The first farewell is lost; the peer, which goes on, is told again.
func TestFarewellIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[0].set(func(h *lanHost) { h.cut = true })
		ended := make(chan struct{})
		go func() { p.a.stop(); close(ended) }()
		synctest.Wait()
		p.hosts[0].set(func(h *lanHost) { h.cut = false })
		if c := p.b.await(t, toA, Down); c.Failure() {
			t.Errorf("got %+v, want no failure", c)
		}
		<-ended
	})
}

func TestFarewellToTheDeadIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[1].set(func(h *lanHost) { h.cut = true })
		begin := time.Now()
		p.a.stop()
		if took := time.Since(begin); took > DefaultFarewell+2*ms {
			t.Errorf("the farewell took %s", took)
		}
	})
}

// A session that is set during the farewell, or afterwards, keeps nobody waiting.
func TestSetDuringFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[1].set(func(h *lanHost) { h.cut = true })
		begin := time.Now()
		ended := make(chan struct{})
		go func() { p.a.stop(); close(ended) }()
		time.Sleep(DefaultFarewell / 2)
		p.a.set(t, toB, every(fast))
		<-ended
		if took := time.Since(begin); took > DefaultFarewell+2*ms {
			t.Errorf("the farewell took %s", took)
		}
		p.a.set(t, toB, every(fast))
		if st, ok := p.a.Status(toB); !ok || st.State != Down {
			t.Errorf("status %+v, %t, want a session that waits for Run", st, ok)
		}
	})
}

// Of two sessions with one peer, each gets the packets to its own address.
func TestSessionsByLocalAddress(t *testing.T) {
	s := New(optionsOn(nil, &node{}))
	named := toB
	named.Local = netip.MustParseAddr("192.0.2.1")
	other := toB
	other.Local = netip.MustParseAddr("192.0.2.77")
	for _, p := range []Path{named, toB, other} {
		if err := s.Set(p, Config{}); err != nil {
			t.Fatal(err)
		}
	}
	for to, want := range map[string]Path{"192.0.2.1": named, "192.0.2.77": other, "192.0.2.5": toB} {
		a := arrival{from: toB.Peer, to: netip.MustParseAddr(to)}
		if e := s.find(toB.entrance(), a, &Packet{State: Down}); e == nil || e.path != want {
			t.Errorf("a packet to %s goes to %+v, want %+v", to, e, want)
		}
	}
	multihop := toB
	multihop.Multihop = true
	if e := s.find(multihop.entrance(), arrival{from: toB.Peer, to: named.Local}, &Packet{State: Down}); e != nil {
		t.Errorf("a packet to the port of multihop goes to %+v", e.path)
	}
}

func TestRemoveAndSetAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.a.Remove(toB)
		p.a.Remove(toB)
		if _, ok := p.a.Status(toB); ok {
			t.Error("the session is still there")
		}
		if c := p.b.await(t, toA, Down); c.Failure() {
			t.Errorf("got %+v, want no failure", c)
		}
		time.Sleep(2 * DefaultFarewell)
		if changes := p.a.take(toB); len(changes) != 0 {
			t.Errorf("changes of a session that was removed: %+v", changes)
		}
		p.hosts[0].mu.Lock()
		if len(p.hosts[0].receivers) != 0 {
			t.Error("a port is open that nobody needs")
		}
		p.hosts[0].mu.Unlock()
		p.a.set(t, toB, every(fast))
		p.a.await(t, toB, Up)
		p.b.await(t, toA, Up)
		// At once, without waiting for the farewell.
		p.a.Remove(toB)
		p.a.set(t, toB, every(fast))
		p.a.Sessions.mu.Lock()
		if n := len(p.a.byDiscriminator); n != 1 {
			t.Errorf("%d sessions speak to the peer, want the new one only", n)
		}
		p.a.Sessions.mu.Unlock()
		p.a.await(t, toB, Up)
		p.b.await(t, toA, Down)
		p.b.await(t, toA, Up)
	})
}

// The readers of a node get no time. What has arrived is read before the peer is
// accused.
func TestCatchesUpBeforeItAccuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[0].set(func(h *lanHost) { h.starved = true })
		time.Sleep(time.Minute)
		if changes := p.a.take(toB); len(changes) != 0 {
			t.Errorf("changes: %+v", changes)
		}
		p.hosts[1].set(func(h *lanHost) { h.cut = true })
		p.a.await(t, toB, Down) // there is an end to it
	})
}

// The timer of a node gets no time. Its peer rightly takes it for dead; the node
// knows whose failure that is.
func TestDoubtsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2")
		b := startOn(t, hosts[1], Options{})
		b.set(t, toA, every(fast))
		a := &node{bell: make(chan struct{}, 1), changes: make(map[Path][]timed)}
		a.Sessions = New(optionsOn(hosts[0], a))
		a.set(t, toB, every(fast))

		var readers errgroup.Group
		drive := func(d time.Duration) { // as Run does
			for end := time.Now().Add(d); time.Now().Before(end); {
				wait, _ := a.serve(context.Background(), &readers)
				time.Sleep(wait)
			}
		}
		drive(3 * time.Second)
		b.await(t, toA, Up)
		time.Sleep(400 * ms) // nobody serves
		drive(10 * ms)
		if c := b.await(t, toA, Down); !c.Failure() || c.SelfLate != 0 {
			t.Errorf("the peer got %+v, want a failure that is not its own", c)
		}
		a.Sessions.mu.Lock()
		var down Change
		for _, c := range a.Sessions.changes {
			if c.State == Down {
				down = c
			}
		}
		a.Sessions.mu.Unlock()
		if !down.Failure() || down.SelfLate < 100*ms {
			t.Errorf("got %+v, want a failure with doubts of 0.1 s or more", down)
		}
		a.closeReceivers()
		if err := readers.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitsForThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2")
		hosts[0].refuse = errors.New("address already in use")
		hosts[0].ports = map[uint16]bool{firstSourcePort: true, firstSourcePort + 1: true}
		a, b := startOn(t, hosts[0], Options{}), startOn(t, hosts[1], Options{})
		a.set(t, toB, Config{})
		b.set(t, toA, Config{})
		time.Sleep(10 * time.Second)
		if st, _ := a.Status(toB); st.State != Down || hosts[0].sent != 0 {
			t.Errorf("status %+v, %d packets sent without an ear", st, hosts[0].sent)
		}
		hosts[0].set(func(h *lanHost) { h.refuse = nil })
		a.await(t, toB, Up)
		a.Sessions.mu.Lock()
		defer a.Sessions.mu.Unlock()
		if port := a.byPath[toB].port; port != firstSourcePort+2 {
			t.Errorf("source port %d, want the first that is free", port)
		}
	})
}

// Our discriminator opens no door but that of the session: neither another port
// nor another VRF.
func TestPacketsAtAnotherEntrance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.a.Sessions.mu.Lock()
		defer p.a.Sessions.mu.Unlock()
		e := p.a.byPath[toB]
		down := (&Packet{State: Down, DetectMultiplier: 3, MyDiscriminator: 9, YourDiscriminator: e.machine.local}).append(nil)
		from := arrival{length: len(down), from: toB.Peer, to: toA.Peer, ttl: hopLimit}
		for _, at := range []entrance{{IPv4: true, Multihop: true}, {IPv4: true, VRF: "red"}, {}} {
			p.a.Sessions.take(at, from, down, time.Now())
			if e.machine.state != Up {
				t.Fatalf("a packet at %s has brought the session down", at)
			}
		}
		p.a.Sessions.take(toB.entrance(), from, down, time.Now())
		if e.machine.state != Down {
			t.Error("the same packet at its own entrance has no effect")
		}
	})
}

// A socket that fails is given up and opened again.
func TestReceiverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		p.hosts[0].set(func(h *lanHost) { h.receivers[toB.entrance()].fail <- errors.New("network is down") })
		if c := p.a.await(t, toB, Down); c.Diagnostic != ControlDetectionTimeExpired {
			t.Errorf("got %+v", c)
		}
		p.a.await(t, toB, Up)
	})
}

func TestPacketsFromAfar(t *testing.T) {
	tests := map[string]struct {
		multihop bool
		minimum  uint8
		ttl      int
		want     State
	}{
		"single hop":              {false, 0, 254, Down},
		"single hop, minimum set": {false, 1, 254, Down},
		"multihop, default":       {true, 0, 254, Up},
		"multihop, too far":       {true, 0, 253, Down},
		"multihop, minimum":       {true, 60, 60, Up},
		"multihop, below":         {true, 60, 59, Down},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, hosts := newLAN("192.0.2.1", "192.0.2.2")
				hosts[1].farthest = tt.ttl
				a, b := startOn(t, hosts[0], Options{}), startOn(t, hosts[1], Options{})
				toA, toB := toA, toB
				toA.Multihop, toB.Multihop = tt.multihop, tt.multihop
				a.set(t, toB, Config{MinimumTTL: tt.minimum})
				b.set(t, toA, Config{})
				time.Sleep(5 * time.Second)
				if st, _ := a.Status(toB); st.State != tt.want {
					t.Errorf("state %s, want %s", st.State, tt.want)
				}
			})
		})
	}
}

func TestBothPassiveStaySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2")
		a, b := startOn(t, hosts[0], Options{}), startOn(t, hosts[1], Options{})
		a.set(t, toB, Config{Passive: true})
		b.set(t, toA, Config{Passive: true})
		time.Sleep(time.Minute)
		if hosts[0].sent+hosts[1].sent != 0 {
			t.Errorf("%d and %d packets sent", hosts[0].sent, hosts[1].sent)
		}
		b.set(t, toA, Config{})
		a.await(t, toB, Up)
	})
}

// A callback that takes its time delays no packet.
func TestSlowCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		var told []State
		slow := startOn(t, p.hosts[0], Options{OnChange: func(c Change) {
			time.Sleep(time.Second)
			told = append(told, c.State)
		}})
		p.a.stop()
		slow.set(t, toB, every(fast))
		p.b.await(t, toA, Up)
		time.Sleep(10 * time.Second)
		if c := p.b.take(toA); len(c) != 0 {
			t.Errorf("the session has changed meanwhile: %+v", c)
		}
		slow.stop()
		if len(told) == 0 || told[len(told)-1] != AdminDown && told[len(told)-1] != Up {
			t.Errorf("told %v", told)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	s := New(optionsOn(nil, &node{}))
	address := netip.MustParseAddr
	tests := map[string]struct {
		path   Path
		config Config
		want   string
	}{
		"no peer":              {Path{}, Config{}, "want a unicast address"},
		"multicast":            {Path{Peer: address("224.0.0.1")}, Config{}, "want a unicast address"},
		"zone":                 {Path{Peer: address("fe80::1%eth0")}, Config{}, "name the interface apart"},
		"link-local":           {Path{Peer: address("fe80::1")}, Config{}, "needs the name of an interface"},
		"mapped":               {Path{Peer: address("::ffff:192.0.2.1")}, Config{}, "write an IPv4 address as such"},
		"families":             {Path{Peer: address("192.0.2.1"), Local: address("2001:db8::1")}, Config{}, "not of the family"},
		"multihop, interface":  {Path{Peer: address("192.0.2.1"), Multihop: true, Interface: "eth0"}, Config{}, "has none"},
		"interval too short":   {toA, every(time.Microsecond), "transmit interval"},
		"interval too long":    {toA, Config{EchoInterval: 2 * time.Hour}, "echo interval"},
		"interval not a whole": {toA, Config{ReceiveInterval: time.Second + 1}, "receive interval"},
	}
	for name, tt := range tests {
		if err := s.Set(tt.path, tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2")
		registry := prometheus.NewPedanticRegistry()
		a := startOn(t, hosts[0], Options{Registerer: registry})
		b := startOn(t, hosts[1], Options{})
		a.set(t, toB, every(fast))
		// A second path to the same peer has the same labels.
		again := toB
		again.Local = hosts[0].address
		b.set(t, toA, every(fast))
		a.await(t, toB, Up)
		time.Sleep(time.Second)
		b.stop()
		a.await(t, toB, Down)
		a.set(t, again, Config{})
		got := gather(t, registry)
		if in, out := got["metallb_bfd_control_packet_input"], got["metallb_bfd_control_packet_output"]; in < 15 || out < 15 {
			t.Errorf("%v packets in, %v out, want what a second has", in, out)
		}
		delete(got, "metallb_bfd_control_packet_input")
		delete(got, "metallb_bfd_control_packet_output")
		if told := got["metallb_bfd_zebra_notifications"]; told < 2 || told > 3 { // with Init or without
			t.Errorf("%v notifications", told)
		}
		delete(got, "metallb_bfd_zebra_notifications")
		want := map[string]float64{
			"metallb_bfd_session_up": 0, "metallb_bfd_session_up_events": 1, "metallb_bfd_session_down_events": 1,
			"metallb_bfd_echo_packet_input": 0, "metallb_bfd_echo_packet_output": 0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		a.Remove(toB)
		a.Remove(again)
		if got := gather(t, registry); len(got) != 0 {
			t.Errorf("series that outlive their session: %v", got)
		}
	})
}

// gather returns the metrics, each of which has one series, of 192.0.2.2.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if len(f.GetMetric()) != 1 {
			t.Fatalf("%s has %d series", f.GetName(), len(f.GetMetric()))
		}
		m := f.GetMetric()[0]
		if l := m.GetLabel(); len(l) != 2 || l[0].GetName() != "peer" || l[0].GetValue() != "192.0.2.2" || l[1].GetName() != "vrf" {
			t.Errorf("%s has the labels %v", f.GetName(), l)
		}
		values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return values
}

// Everybody does everything at once; in the end there is what was set last.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hosts := newLAN("192.0.2.1", "192.0.2.2")
		a, b := startOn(t, hosts[0], Options{Registerer: prometheus.NewRegistry()}), startOn(t, hosts[1], Options{})
		var group errgroup.Group
		for i := range 4 {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			group.Go(func() error {
				for range 200 {
					n, path := a, toB
					if random.IntN(2) == 0 {
						n, path = b, toA
					}
					path.Multihop = random.IntN(2) == 0
					switch random.IntN(4) {
					case 0:
						n.Remove(path)
					case 1:
						n.Status(path)
						n.totals()
					default:
						if err := n.Set(path, randomConfig(random)); err != nil {
							return err
						}
					}
					time.Sleep(time.Duration(random.IntN(300)) * ms)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, multihop := range []bool{false, true} {
			toA, toB := toA, toB
			toA.Multihop, toB.Multihop = multihop, multihop
			a.set(t, toB, every(fast))
			b.set(t, toA, every(fast))
			time.Sleep(10 * time.Second)
			for _, x := range []struct {
				n    *node
				path Path
			}{{a, toB}, {b, toA}} {
				if st, _ := x.n.Status(x.path); st.State != Up || st.TransmitInterval != fast || st.DetectionTime != 3*fast {
					t.Errorf("multihop %t: %+v", multihop, st)
				}
			}
		}
		a.Sessions.mu.Lock()
		defer a.Sessions.mu.Unlock()
		if len(a.byDiscriminator) != 2 || len(a.byPeer) != 1 || len(a.queue) != 2 || len(a.starting) != 0 {
			t.Errorf("%d discriminators, %d peers, %d in the queue, %d starting: want 2, 1, 2, 0",
				len(a.byDiscriminator), len(a.byPeer), len(a.queue), len(a.starting))
		}
	})
}
