// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"math/rand/v2"
	"time"
)

// slowInterval is the least bfd.DesiredMinTxInterval while a session is not up
// (RFC 5880, section 6.8.3).
const slowInterval = time.Second

// machine is the state machine of one session (RFC 5880, section 6). It knows no
// clock, no socket and no other session: it is given packets, the time and the
// wishes of the administrator, and says what to send. Comments name the variables
// of section 6.8.1. It is not safe for concurrent use.
//
// The time passed in never goes back. After each call, next says by when advance
// wants to be called.
type machine struct {
	config Config
	random *rand.Rand

	state       State      // bfd.SessionState
	diagnostic  Diagnostic // bfd.LocalDiag
	local       uint32     // bfd.LocalDiscr
	remote      uint32     // bfd.RemoteDiscr
	remoteState State      // bfd.RemoteSessionState
	remoteDiag  Diagnostic

	// What the peer hears from us, and what we go by. They differ while a Poll
	// Sequence is under way, in the cases of section 6.8.3.
	desiredMinTx  time.Duration // bfd.DesiredMinTxInterval
	requiredMinRx time.Duration // bfd.RequiredMinRxInterval
	minTxInForce  time.Duration
	minRxInForce  time.Duration

	remoteMinTx      time.Duration // Desired Min TX Interval last received
	remoteMinRx      time.Duration // bfd.RemoteMinRxInterval
	remoteMinEchoRx  time.Duration // Required Min Echo RX Interval last received
	remoteMultiplier uint8         // Detect Mult last received
	remoteDemand     bool          // bfd.RemoteDemandMode

	poll poll
	echo echo

	heard      time.Time // the last valid packet; zero while the peer is not known
	transmitAt time.Time // the next periodic packet; zero: none
	ripeAt     time.Time // from when on it may be sent in company, if there is one
}

// poll is where a Poll Sequence is (section 6.5).
type poll uint8

const (
	noPoll poll = iota
	polling
	// pollingStale: the parameters have changed again. The Final that comes may
	// answer the old ones, so another sequence follows.
	pollingStale
)

// output is what a machine wants done, in this order.
type output struct {
	changed  bool    // the state has, or the peer has begun or ceased to be AdminDown
	previous summary // what was before
	send     bool    // send packet now
	packet   Packet  //
	echo     bool    // send an echo packet now
}

// newMachine returns the machine of a session that is down, or held down. The
// config is complete; echo says whether the path can have the echo function.
func newMachine(c Config, echo bool, discriminator uint32, random *rand.Rand, now time.Time) *machine {
	m := &machine{config: c, random: random, local: discriminator, state: Down, remoteState: Down, remoteMinRx: time.Microsecond}
	m.echo.possible = echo
	if c.AdminDown {
		m.state, m.diagnostic = AdminDown, AdministrativelyDown
	}
	m.setIntervals()
	m.settleIntervals()
	if m.transmitInterval() > 0 {
		m.transmitAt = now
	}
	return m
}

// receive takes a packet that parse has accepted and that belongs to the session
// (section 6.8.6, from "Set bfd.RemoteDiscr" on).
func (m *machine) receive(p *Packet, now time.Time) output {
	before := m.summary()
	m.remote, m.remoteState, m.remoteDiag = p.MyDiscriminator, p.State, p.Diagnostic
	m.remoteDemand, m.remoteMultiplier = p.Demand, p.DetectMultiplier
	m.remoteMinTx, m.remoteMinRx, m.remoteMinEchoRx = p.DesiredMinTx, p.RequiredMinRx, p.RequiredMinEchoRx
	m.heard = now
	if p.Final {
		m.finishPoll()
	}
	m.follow(p.State)
	o := m.outcome(before, now)
	if p.Poll {
		// Without regard to any limit of rate (section 6.5); never with Poll.
		o.send, o.packet = true, m.packet()
		o.packet.Poll, o.packet.Final = false, true
	}
	return o
}

// follow makes the transitions that a state of the peer causes (section 6.2).
func (m *machine) follow(remote State) {
	switch {
	case m.state == AdminDown:
	case remote == AdminDown:
		if m.state != Down {
			m.move(Down, NeighborSignaledDown)
		}
	case m.state == Down && remote == Down:
		m.move(Init, NoDiagnostic)
	case m.state == Down && remote == Init,
		m.state == Init && remote != Down:
		m.move(Up, NoDiagnostic)
	case m.state == Up && remote == Down:
		m.move(Down, NeighborSignaledDown)
	}
}

// advance does what is due at the time now.
func (m *machine) advance(now time.Time) output {
	before := m.summary()
	m.expire(now)
	o := m.outcome(before, now)
	if !m.transmitAt.IsZero() && !m.transmitAt.After(now) {
		o.send, o.packet = true, m.packet()
		m.schedule(now)
	}
	o.echo = m.takeEcho(now)
	return o
}

// expire notices that nothing has been heard for the Detection Time (sections
// 6.8.4 and 6.8.5).
func (m *machine) expire(now time.Time) {
	if m.echoExpired(now) {
		m.move(Down, EchoFunctionFailed)
	}
	if !m.wouldExpire(now) {
		return
	}
	if m.state == Init || m.state == Up {
		m.move(Down, ControlDetectionTimeExpired)
	}
	// The peer is forgotten (section 6.8.1, bfd.RemoteDiscr), with what it asked
	// for, so that a passive system falls silent and an active one begins anew.
	m.heard, m.remote, m.poll = time.Time{}, 0, noPoll
	m.remoteMinRx, m.remoteDemand = time.Microsecond, false
}

// wouldExpire says whether advance would find the peer silent for too long.
func (m *machine) wouldExpire(now time.Time) bool {
	at := m.detectAt()
	return !at.IsZero() && !at.After(now)
}

// configure changes the settings of a running session.
func (m *machine) configure(c Config, now time.Time) output {
	before := m.summary()
	m.config = c
	switch {
	case c.AdminDown && m.state != AdminDown:
		m.move(AdminDown, AdministrativelyDown)
	case !c.AdminDown && m.state == AdminDown:
		m.move(Down, NoDiagnostic)
	}
	m.setIntervals()
	return m.outcome(before, now)
}

// move enters a state.
func (m *machine) move(s State, d Diagnostic) {
	m.state, m.diagnostic = s, d
	m.setIntervals()
}

// summary is what of a session somebody must hear of at once when it changes.
type summary struct {
	state       State
	remoteAdmin bool
	interval    time.Duration // between packets sent; 0: none is sent
	// rhythm is the shorter of the intervals at which we send and receive, and
	// memory the longest silence that one of the ends puts up with.
	rhythm, memory time.Duration
}

func (m *machine) summary() summary {
	transmit := m.transmitInterval()
	return summary{
		state: m.state, remoteAdmin: m.remoteState == AdminDown,
		interval: transmit,
		rhythm:   min(transmit, m.receiveInterval()),
		memory:   max(time.Duration(m.config.DetectMultiplier)*transmit, m.detectionTime()),
	}
}

// outcome compares with what was before, tells the peer of a new state at once
// (section 6.8.7, last paragraph but one), and keeps timers up to date. New
// intervals wait for the next periodic packet: a Poll Sequence adds none (6.5).
func (m *machine) outcome(before summary, now time.Time) output {
	after := m.summary()
	m.updateEcho(now)
	o := output{previous: before}
	o.changed = after.state != before.state || after.remoteAdmin != before.remoteAdmin
	switch {
	case after.state != before.state && m.maySpeak():
		o.send, o.packet = true, m.packet()
		m.schedule(now)
	case after.interval != before.interval:
		// A new interval counts from now, but never delays a packet on its way to
		// a peer that still goes by the old one.
		old := m.transmitAt
		m.schedule(now)
		if !old.IsZero() && !m.transmitAt.IsZero() && old.Before(m.transmitAt) {
			m.transmitAt, m.ripeAt = old, earliest(old, m.ripeAt)
		}
	}
	return o
}

// packet is the control packet to send now (section 6.8.7).
func (m *machine) packet() Packet {
	return Packet{
		Diagnostic: m.diagnostic, State: m.state, Poll: m.poll != noPoll,
		DetectMultiplier: m.config.DetectMultiplier,
		MyDiscriminator:  m.local, YourDiscriminator: m.remote,
		DesiredMinTx: m.desiredMinTx, RequiredMinRx: m.requiredMinRx,
		RequiredMinEchoRx: m.requiredMinEchoRx(),
	}
}

// next is when advance wants to be called; zero: only after another event.
func (m *machine) next() time.Time {
	return earliest(earliest(m.transmitAt, m.detectAt()), m.echo.next())
}

// earliest returns the earlier time; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
