// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

// bench is a machine with a clock that the test moves.
type bench struct {
	*machine
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, c Config) *bench {
	t.Helper()
	c, err := c.complete()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: time.Unix(1000, 0)}
	b.machine = newMachine(c, true, 1, rand.New(rand.NewPCG(1, 2)), b.now)
	return b
}

// peerSays is a packet of the peer, whose discriminator is 2.
func peerSays(s State, change ...func(*Packet)) Packet {
	p := Packet{
		State: s, DetectMultiplier: 3, MyDiscriminator: 2, YourDiscriminator: 1,
		DesiredMinTx: 100 * ms, RequiredMinRx: 100 * ms,
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func withPoll(p *Packet)  { p.Poll = true }
func withFinal(p *Packet) { p.Final = true }

func (b *bench) hear(s State, change ...func(*Packet)) output {
	p := peerSays(s, change...)
	return b.receive(&p, b.now)
}

// pass lets time pass and returns what was sent meanwhile, and when.
func (b *bench) pass(d time.Duration) (sent []sending) {
	end := b.now.Add(d)
	for at := b.next(); !at.IsZero() && !at.After(end); at = b.next() {
		b.now = at
		if o := b.advance(b.now); o.send || o.changed {
			sent = append(sent, sending{b.now, o})
		}
	}
	b.now = end
	return sent
}

type sending struct {
	at time.Time
	output
}

// up brings the session up, and through the Poll Sequence that follows.
func (b *bench) up() {
	b.t.Helper()
	b.hear(Down)
	b.hear(Up, withFinal)
	b.hear(Up, withFinal)
	if b.state != Up || b.poll != noPoll {
		b.t.Fatalf("state %s, poll %d, want Up and none", b.state, b.poll)
	}
}

// The table of RFC 5880, section 6.2: state here, state received, state then.
func TestTransitions(t *testing.T) {
	tests := []struct {
		at, hear, want State
		diagnostic     Diagnostic
	}{
		{Down, AdminDown, Down, NoDiagnostic},
		{Down, Down, Init, NoDiagnostic},
		{Down, Init, Up, NoDiagnostic},
		{Down, Up, Down, NoDiagnostic},
		{Init, AdminDown, Down, NeighborSignaledDown},
		{Init, Down, Init, NoDiagnostic},
		{Init, Init, Up, NoDiagnostic},
		{Init, Up, Up, NoDiagnostic},
		{Up, AdminDown, Down, NeighborSignaledDown},
		{Up, Down, Down, NeighborSignaledDown},
		{Up, Init, Up, NoDiagnostic},
		{Up, Up, Up, NoDiagnostic},
		{AdminDown, AdminDown, AdminDown, AdministrativelyDown},
		{AdminDown, Down, AdminDown, AdministrativelyDown},
		{AdminDown, Init, AdminDown, AdministrativelyDown},
		{AdminDown, Up, AdminDown, AdministrativelyDown},
	}
	for _, tt := range tests {
		t.Run(tt.at.String()+" hears "+tt.hear.String(), func(t *testing.T) {
			b := newBench(t, Config{AdminDown: tt.at == AdminDown})
			if tt.at == Init || tt.at == Up {
				b.hear(Down)
			}
			if tt.at == Up {
				b.hear(Init)
			}
			if b.state != tt.at {
				t.Fatalf("state %s, want %s to begin with", b.state, tt.at)
			}
			o := b.hear(tt.hear)
			if b.state != tt.want || b.diagnostic != tt.diagnostic {
				t.Errorf("got %s, %s, want %s, %s", b.state, b.diagnostic, tt.want, tt.diagnostic)
			}
			moved := tt.at != tt.want
			if o.send != moved {
				t.Errorf("sends %t, want %t: a new state is told at once", o.send, moved)
			}
			if o.send && o.packet.State != tt.want {
				t.Errorf("sends %s, want %s", o.packet.State, tt.want)
			}
			admin := tt.hear == AdminDown
			if o.changed != (moved || admin) {
				t.Errorf("changed %t, want %t", o.changed, moved || admin)
			}
		})
	}
}

func TestSlowWhileNotUp(t *testing.T) {
	b := newBench(t, every(50*ms))
	sent := b.pass(10 * time.Second)
	if len(sent) < 10 || len(sent) > 15 {
		t.Errorf("%d packets in 10 s, want one each 0.75 to 1 s", len(sent))
	}
	if first := sent[0]; !first.at.Equal(time.Unix(1000, 0)) {
		t.Errorf("first packet at %s, want at once", first.at)
	}
	for i, s := range sent[1:] {
		if gap := s.at.Sub(sent[i].at); gap < 750*ms || gap > time.Second {
			t.Errorf("gap %s, want 0.75 s to 1 s", gap)
		}
		if s.packet.DesiredMinTx != time.Second || s.packet.YourDiscriminator != 0 {
			t.Errorf("sends %+v, want a desired interval of 1 s, to nobody known", s.packet)
		}
	}
}

// Section 6.8.7: up to a quarter shorter; by a tenth at least if the multiplier
// is 1.
func TestJitter(t *testing.T) {
	for multiplier, most := range map[uint8]time.Duration{3: 100 * ms, 1: 90 * ms} {
		c := every(100 * ms)
		c.DetectMultiplier = multiplier
		b := newBench(t, c)
		b.up()
		low, high := time.Hour, time.Duration(0)
		last := b.now
		for range 500 {
			b.hear(Up)
			for _, s := range b.pass(50 * ms) {
				gap := s.at.Sub(last)
				last = s.at
				low, high = min(low, gap), max(high, gap)
			}
		}
		if low < 75*ms || low > 77*ms || high > most || high < most-2*ms {
			t.Errorf("multiplier %d: gaps from %s to %s, want the range from 75ms to %s", multiplier, low, high, most)
		}
	}
}

// Section 6.8.4: the peer's multiplier, and the greater of what we require and
// what it desires.
func TestDetectionTime(t *testing.T) {
	for name, tt := range map[string]struct {
		receive, desired time.Duration
		multiplier       uint8
		want             time.Duration
	}{
		"ours is greater":   {200 * ms, 50 * ms, 3, 600 * ms},
		"theirs is greater": {50 * ms, 200 * ms, 4, 800 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{ReceiveInterval: tt.receive, DetectMultiplier: 7})
			b.up()
			b.hear(Up, func(p *Packet) { p.DesiredMinTx, p.DetectMultiplier = tt.desired, tt.multiplier })
			heard := b.now
			for _, s := range b.pass(tt.want - 1) {
				if s.changed {
					t.Fatalf("state %s after %s", b.state, s.at.Sub(heard))
				}
			}
			sent := b.pass(1)
			if b.state != Down || b.diagnostic != ControlDetectionTimeExpired {
				t.Fatalf("after %s: %s, %s", tt.want, b.state, b.diagnostic)
			}
			last := sent[len(sent)-1]
			if !last.changed || !last.send || last.packet.State != Down || last.packet.Diagnostic != ControlDetectionTimeExpired {
				t.Errorf("got %+v, want the peer told at once", last)
			}
			if b.remote != 0 {
				t.Error("the discriminator of the peer is still known")
			}
		})
	}
}

// A session that is down forgets a silent peer too (section 6.8.1).
func TestForgetsSilentPeerWhileDown(t *testing.T) {
	b := newBench(t, Config{Passive: true})
	b.hear(Up) // keeps it down
	if b.state != Down || b.remote != 2 {
		t.Fatalf("state %s, remote %d", b.state, b.remote)
	}
	b.pass(10 * time.Second)
	if b.remote != 0 || !b.next().IsZero() {
		t.Errorf("remote %d, next %s; want a passive system silent again", b.remote, b.next())
	}
}

// What a peer that is gone had asked for binds nobody.
func TestForgetsWhatTheSilentPeerWanted(t *testing.T) {
	for name, change := range map[string]func(*Packet){
		"requires no packets": func(p *Packet) { p.RequiredMinRx = 0 },
		"demand mode":         func(p *Packet) { p.Demand = true },
		"requires few":        func(p *Packet) { p.RequiredMinRx = time.Hour },
	} {
		b := newBench(t, Config{})
		b.up()
		b.hear(Up, change)
		b.pass(time.Second)
		if sent := b.pass(time.Second); b.state != Down || len(sent) == 0 {
			t.Errorf("%s: %s, %d packets sent, want a new beginning", name, b.state, len(sent))
		}
	}
}

func TestPassiveSpeaksWhenSpokenTo(t *testing.T) {
	b := newBench(t, Config{Passive: true})
	if sent := b.pass(time.Minute); len(sent) != 0 {
		t.Fatalf("%d packets before the peer has spoken", len(sent))
	}
	if o := b.hear(Down); !o.send || o.packet.State != Init || o.packet.YourDiscriminator != 2 {
		t.Errorf("got %+v, want Init to the peer", o)
	}
}

func TestPollIsAnsweredAtOnce(t *testing.T) {
	b := newBench(t, Config{})
	b.up()
	next := b.transmitAt
	o := b.hear(Up, withPoll)
	if !o.send || !o.packet.Final || o.packet.Poll {
		t.Errorf("got %+v, want Final without Poll", o)
	}
	if !b.transmitAt.Equal(next) {
		t.Error("the answer has moved the periodic packet")
	}
	b.config.TransmitInterval = 500 * ms
	b.setIntervals()
	if o := b.hear(Up, withPoll); !o.packet.Final || o.packet.Poll {
		t.Errorf("got %+v, want Final without Poll while polling", o)
	}
}

// Coming up ends the slow start: by a Poll Sequence, and fast at once.
func TestUpPolls(t *testing.T) {
	b := newBench(t, every(50*ms))
	b.hear(Down)
	o := b.hear(Init)
	if !o.send || !o.packet.Poll || o.packet.DesiredMinTx != 50*ms {
		t.Errorf("got %+v, want a poll with the fast interval", o)
	}
	if d := b.transmitInterval(); d != 100*ms {
		t.Errorf("interval %s, want what the peer can bear", d)
	}
	sent := b.pass(200 * ms)
	if len(sent) == 0 || !sent[0].packet.Poll {
		t.Error("the poll is not repeated until it is answered")
	}
	b.hear(Up, withFinal)
	if o := b.pass(100 * ms); len(o) == 0 || o[0].packet.Poll {
		t.Error("the poll does not end")
	}
}

// Section 6.8.3: a longer interval of ours and a shorter one of theirs wait for
// the Final; the other two do not.
func TestChangedIntervalsWaitForFinal(t *testing.T) {
	tests := map[string]struct {
		to                  Config
		txBefore, txAfter   time.Duration
		detBefore, detAfter time.Duration
	}{
		"slower":            {every(400 * ms), 200 * ms, 400 * ms, 1200 * ms, 1200 * ms},
		"faster":            {every(100 * ms), 100 * ms, 100 * ms, 600 * ms, 300 * ms},
		"faster to receive": {Config{TransmitInterval: 200 * ms, ReceiveInterval: 100 * ms}, 200 * ms, 200 * ms, 600 * ms, 300 * ms},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, every(200*ms))
			b.up()
			to, _ := tt.to.complete()
			if o := b.configure(to, b.now); o.send {
				t.Error("a Poll Sequence adds no packet (section 6.5)")
			}
			check := func(when string, tx, detection time.Duration) {
				t.Helper()
				if b.transmitInterval() != tx || b.detectionTime() != detection {
					t.Errorf("%s the Final: sends each %s, detects in %s, want %s, %s",
						when, b.transmitInterval(), b.detectionTime(), tx, detection)
				}
			}
			check("before", tt.txBefore, tt.detBefore)
			sent := b.pass(200 * ms)
			if len(sent) == 0 || !sent[0].packet.Poll || sent[0].packet.DesiredMinTx != to.TransmitInterval || sent[0].packet.RequiredMinRx != to.ReceiveInterval {
				t.Fatalf("sent %+v, want a poll with the new intervals", sent)
			}
			b.hear(Up, withFinal)
			check("after", tt.txAfter, tt.detAfter)
		})
	}
}

// A change in the middle of a Poll Sequence needs one of its own: the Final may
// answer the one before.
func TestChangeWhilePolling(t *testing.T) {
	b := newBench(t, every(200*ms))
	b.up()
	for _, d := range []time.Duration{400 * ms, 500 * ms} {
		c, _ := every(d).complete()
		b.configure(c, b.now)
	}
	b.hear(Up, withFinal)
	if b.poll != polling || b.transmitInterval() != 200*ms {
		t.Errorf("poll %d, interval %s; the first Final settles nothing", b.poll, b.transmitInterval())
	}
	b.hear(Up, withFinal)
	if b.poll != noPoll || b.transmitInterval() != 500*ms {
		t.Errorf("poll %d, interval %s, want none and 500ms", b.poll, b.transmitInterval())
	}
}

// Section 6.8.7: nothing periodic to a peer that wants nothing.
func TestPeerWantsSilence(t *testing.T) {
	for name, change := range map[string]func(*Packet){
		"requires no packets": func(p *Packet) { p.RequiredMinRx = 0 },
		"demand mode":         func(p *Packet) { p.Demand = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, every(100*ms))
			b.up()
			b.hear(Up, change)
			if sent := b.pass(299 * ms); len(sent) != 0 {
				t.Errorf("%d packets sent", len(sent))
			}
			if o := b.hear(Up, change, withPoll); !o.send || !o.packet.Final {
				t.Error("the peer's poll is not answered")
			}
		})
	}
}

func TestHeldDown(t *testing.T) {
	b := newBench(t, every(50*ms))
	b.up()
	c := b.config
	c.AdminDown = true
	o := b.configure(c, b.now)
	if !o.send || o.packet.State != AdminDown || o.packet.Diagnostic != AdministrativelyDown || !o.changed {
		t.Errorf("got %+v, want the peer told", o)
	}
	if sent := b.pass(5 * time.Second); len(sent) < 4 || sent[3].packet.State != AdminDown {
		t.Errorf("sent %d packets, want AdminDown to go on slowly", len(sent))
	}
	c.AdminDown = false
	if o := b.configure(c, b.now); b.state != Down || o.packet.State != Down || b.diagnostic != NoDiagnostic {
		t.Errorf("state %s, sends %+v, want it to begin anew", b.state, o)
	}
}

// The peer is held down after a failure: that too is news.
func TestAdminDownAfterFailureIsReported(t *testing.T) {
	b := newBench(t, Config{})
	b.up()
	b.pass(time.Second)
	if b.state != Down {
		t.Fatal("still up")
	}
	if o := b.hear(AdminDown); !o.changed || o.send {
		t.Errorf("got %+v, want a change and nothing to send", o)
	}
	if o := b.hear(AdminDown); o.changed {
		t.Error("the same news twice")
	}
}

func TestEchoIsTrustedOnceItCameBack(t *testing.T) {
	b := newBench(t, Config{Echo: true})
	b.up()
	loops := func(p *Packet) { p.RequiredMinEchoRx = 80 * ms }
	for range 20 { // none comes back: control packets keep the session
		b.hear(Up, loops)
		b.pass(100 * ms)
	}
	if b.state != Up || b.requiredMinEchoRx() != DefaultEchoInterval || b.echoInterval() != 80*ms {
		t.Fatalf("state %s, promise %s, interval %s", b.state, b.requiredMinEchoRx(), b.echoInterval())
	}
	b.receiveEcho(b.now)
	for range 2 {
		b.hear(Up, loops)
		b.pass(110 * ms)
	}
	if b.state != Up {
		t.Fatal("down before three intervals have passed")
	}
	b.hear(Up, loops)
	b.pass(20 * ms)
	if b.state != Down || b.diagnostic != EchoFunctionFailed {
		t.Errorf("got %s, %s", b.state, b.diagnostic)
	}

	// It came back once: up again, it must come back again.
	b.hear(Down, loops)
	b.hear(Up, loops)
	if b.state != Up {
		t.Fatal("not up again")
	}
	for range 3 {
		b.hear(Up, loops)
		b.pass(110 * ms)
	}
	if b.state == Up || b.diagnostic != EchoFunctionFailed {
		t.Errorf("got %s, %s: a path that looped and does not is good again", b.state, b.diagnostic)
	}
}

func TestEchoNeedsConsent(t *testing.T) {
	for name, tt := range map[string]struct {
		config   Config
		possible bool
		peer     time.Duration
	}{
		"not asked for":      {Config{}, true, 50 * ms},
		"not on such a path": {Config{Echo: true}, false, 50 * ms},
		"the peer does not":  {Config{Echo: true}, true, 0},
	} {
		b := newBench(t, tt.config)
		b.echo.possible = tt.possible
		b.up()
		b.hear(Up, func(p *Packet) { p.RequiredMinEchoRx = tt.peer })
		if !b.echo.next().IsZero() {
			t.Errorf("%s: echo packets are sent", name)
		}
	}
}
