// SPDX-License-Identifier: Apache-2.0

package bfd

import "time"

// echo is the part of a machine that is about the echo function (RFC 5880,
// sections 6.4, 6.8.8 and 6.8.9).
//
// The other end need not know about our packets: it forwards them back. Whether
// it does cannot be asked, only tried. So silence is a failure only after one
// packet of the session has come back; a peer that promises to loop and never does
// costs packets, not the session, which control packets keep watching at their
// full rate.
type echo struct {
	possible bool
	proven   bool      // a packet has come back, some time
	sendAt   time.Time // the next packet; zero while the function is not active
	expireAt time.Time // a failure unless one comes back; zero while none must
}

// next is when something is due; zero: nothing.
func (e *echo) next() time.Time { return earliest(e.sendAt, e.expireAt) }

// requiredMinEchoRx is what we advertise: the promise to loop packets back, which
// the kernel does by forwarding them. 0 is no promise.
func (m *machine) requiredMinEchoRx() time.Duration {
	if !m.echo.possible || !m.config.Echo {
		return 0
	}
	return m.config.EchoInterval
}

// echoInterval is the time between packets of ours before jitter (section
// 6.8.9); 0 means that none may be sent.
func (m *machine) echoInterval() time.Duration {
	if m.requiredMinEchoRx() == 0 || m.state != Up || m.remoteState != Up || m.remoteMinEchoRx == 0 {
		return 0
	}
	return max(m.config.EchoInterval, m.remoteMinEchoRx)
}

// updateEcho starts and stops the function as state and peer want it.
func (m *machine) updateEcho(now time.Time) {
	d := m.echoInterval()
	switch {
	case d == 0:
		m.echo.sendAt, m.echo.expireAt = time.Time{}, time.Time{}
	case m.echo.sendAt.IsZero():
		m.echo.sendAt = now.Add(m.jitter(d))
		if m.echo.proven {
			m.echo.expireAt = m.echo.sendAt.Add(m.echoDetectionTime())
		}
	}
}

// takeEcho says whether to send a packet now, and plans the next one.
func (m *machine) takeEcho(now time.Time) bool {
	if m.echo.sendAt.IsZero() || m.echo.sendAt.After(now) {
		return false
	}
	m.echo.sendAt = now.Add(m.jitter(m.echoInterval()))
	return true
}

// receiveEcho takes a packet of ours that has come back.
func (m *machine) receiveEcho(now time.Time) {
	if d := m.echoDetectionTime(); d > 0 {
		m.echo.proven = true
		m.echo.expireAt = now.Add(d)
	}
}

// echoDetectionTime is how long none of ours may come back.
func (m *machine) echoDetectionTime() time.Duration {
	return time.Duration(m.config.DetectMultiplier) * m.echoInterval()
}

func (m *machine) echoExpired(now time.Time) bool {
	return !m.echo.expireAt.IsZero() && !m.echo.expireAt.After(now)
}
