// SPDX-License-Identifier: Apache-2.0

package bfd

import "time"

// setIntervals advertises the intervals that state and configuration ask for. A
// change is put through by a Poll Sequence (RFC 5880, section 6.8.3).
func (m *machine) setIntervals() {
	tx := m.config.TransmitInterval
	if m.state != Up {
		tx = max(tx, m.config.SlowInterval)
	}
	rx := m.config.ReceiveInterval
	if tx == m.desiredMinTx && rx == m.requiredMinRx {
		return
	}
	m.desiredMinTx, m.requiredMinRx = tx, rx
	if m.remote == 0 || m.state != Up {
		// Nobody goes by the old ones: those not yet polled are dropped too.
		m.settleIntervals()
	}
	if m.remote != 0 {
		m.startPoll()
	}
	// While the session is up and the peer has not confirmed, it may send more
	// slowly than it soon will, and expects us as often as before. The good news
	// of each pair is used at once.
	m.minTxInForce = min(m.minTxInForce, tx)
	m.minRxInForce = max(m.minRxInForce, rx)
}

// settleIntervals goes by what is advertised.
func (m *machine) settleIntervals() {
	m.minTxInForce, m.minRxInForce = m.desiredMinTx, m.requiredMinRx
}

func (m *machine) startPoll() {
	if m.poll == noPoll {
		m.poll = polling
		return
	}
	m.poll = pollingStale
}

// finishPoll takes a packet with the Final bit.
func (m *machine) finishPoll() {
	switch m.poll {
	case noPoll: // it answers nothing that we asked
	case polling:
		m.poll = noPoll
		m.settleIntervals()
	case pollingStale:
		m.poll = polling
	}
}

// maySpeak says whether packets may be sent at all: the passive role waits until
// the peer is known (section 6.8.7).
func (m *machine) maySpeak() bool { return m.remote != 0 || !m.config.Passive }

// transmitInterval is the time between periodic packets before jitter (section
// 6.8.2); 0 means that none are sent (section 6.8.7).
func (m *machine) transmitInterval() time.Duration {
	quiet := m.remoteDemand && m.state == Up && m.remoteState == Up && m.poll == noPoll
	if quiet || m.remoteMinRx == 0 || !m.maySpeak() {
		return 0
	}
	return max(m.minTxInForce, m.remoteMinRx)
}

// schedule plans the next periodic packet, counted from now.
func (m *machine) schedule(now time.Time) {
	m.transmitAt = time.Time{}
	if d := m.transmitInterval(); d > 0 {
		m.transmitAt = now.Add(m.jitter(d))
		m.ripeAt = now.Add(d * 3 / 4)
	}
}

// hasten makes the next periodic packet due, if the jitter could have done so: it is
// the time between two packets that may vary by a quarter, whatever decides how much
// it is. It says whether there is such a packet.
func (m *machine) hasten(now time.Time) bool {
	if m.transmitAt.IsZero() || m.ripeAt.After(now) {
		return false
	}
	m.transmitAt = now
	return true
}

// jitter shortens an interval by up to a quarter, and by at least a tenth if one
// lost packet is a failure (section 6.8.7).
func (m *machine) jitter(d time.Duration) time.Duration {
	most := 1.0
	if m.config.DetectMultiplier == 1 {
		most = 0.9
	}
	return time.Duration((most - (most-0.75)*m.random.Float64()) * float64(d))
}

// receiveInterval is the longest time between packets of the peer.
func (m *machine) receiveInterval() time.Duration { return max(m.minRxInForce, m.remoteMinTx) }

// detectionTime is how long the peer may be silent (section 6.8.4): its
// multiplier, and the interval that it has agreed on with us.
func (m *machine) detectionTime() time.Duration {
	return time.Duration(m.remoteMultiplier) * m.receiveInterval()
}

// detectAt is when the peer has been silent for the Detection Time; zero while
// it is not known.
func (m *machine) detectAt() time.Time {
	if m.heard.IsZero() {
		return time.Time{}
	}
	return m.heard.Add(m.detectionTime())
}
