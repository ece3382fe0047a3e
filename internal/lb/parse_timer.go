// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// defaultHoldTime and defaultKeepaliveTime are what RFC 4271, 10 suggests.
	defaultHoldTime      = 90 * time.Second
	defaultKeepaliveTime = 30 * time.Second
	// shortestHoldTime is the least that RFC 4271, 4.2 permits, besides 0.
	shortestHoldTime = 3 * time.Second
	// longestTime is what fits the two octets of a Hold Time.
	longestTime = 65535 * time.Second
)

// timers reads the timers. Of hold time and keepalive time, one follows from the other:
// a third, or three times as much (RFC 4271, 4.4).
func (p *peerParser) timers(peer *Peer) {
	s := &p.object.Spec
	hold, holdGiven := p.seconds("holdTime", s.HoldTime)
	keepalive, keepaliveGiven := p.seconds("keepaliveTime", s.KeepaliveTime)
	switch {
	case !holdGiven && !keepaliveGiven:
		hold, keepalive = defaultHoldTime, defaultKeepaliveTime
	case !holdGiven:
		hold = min(3*keepalive, longestTime)
	case keepaliveGiven && s.KeepaliveTime.Duration > s.HoldTime.Duration:
		p.reject("keepaliveTime", "%s exceeds holdTime %s; a third of it is usual", s.KeepaliveTime.Duration, s.HoldTime.Duration)
	case keepalive == 0:
		// To promise a hold time and never send a keepalive would end the session.
		keepalive = (hold / 3).Truncate(time.Second)
	}
	if hold != 0 && hold < shortestHoldTime {
		p.reject("holdTime", "%s is too short; use 3s to 65535s, or 0s to switch the hold timer off", hold)
	}
	if hold == 0 {
		keepalive = 0
	}
	peer.HoldTime, peer.KeepaliveTime = hold, keepalive

	retry, given := p.seconds("connectTime", s.ConnectTime)
	if given && (retry < time.Second || retry != s.ConnectTime.Duration) {
		p.reject("connectTime", "%s cannot be used; use 1s to 65535s in whole seconds", s.ConnectTime.Duration)
	}
	peer.ConnectTime = retry
}

// seconds cuts fractions of a second off: on the wire there are none.
func (p *peerParser) seconds(name string, d *metav1.Duration) (_ time.Duration, given bool) {
	if d == nil {
		return 0, false
	}
	if d.Duration < 0 || d.Duration > longestTime {
		p.reject(name, "%s is out of range; use 0s to 65535s", d.Duration)
		return 0, false
	}
	return d.Truncate(time.Second), true
}
