// SPDX-License-Identifier: Apache-2.0

package bfd

import "time"

// Status is what a session is like now.
type Status struct {
	State      State
	Diagnostic Diagnostic // why it is in this state
	// RemoteState and RemoteDiagnostic are those of the last packet of the peer;
	// Down before the first.
	RemoteState      State
	RemoteDiagnostic Diagnostic
	// TransmitInterval is the time between control packets to the peer before
	// jitter; 0: none are sent. DetectionTime is how long the peer may be silent;
	// 0 while it is not known.
	TransmitInterval time.Duration
	DetectionTime    time.Duration
	// Echo says that echo packets of ours come back.
	Echo bool
}

// AdministrativelyDown says that this end or the other has taken the session down
// on purpose: it then tells nothing about the path (RFC 5882, section 3.2).
func (s Status) AdministrativelyDown() bool {
	return s.State == AdminDown || s.State != Up && s.RemoteState == AdminDown
}

// Change is a session whose state has changed, or whose peer has begun or ceased
// to be administratively down.
type Change struct {
	Path     Path
	Previous State
	Status
	// SelfLate is how late the timers of this process were in the Detection Time
	// before a session went down, if that was enough to be the cause: it then has
	// reason to doubt itself and not its neighbor. 0: they were on time.
	SelfLate time.Duration
}

// Failure says that the path has failed, or the system at its other end. To go
// down administratively is no failure (RFC 5882, section 3.2), nor is a session
// that has not been up.
func (c Change) Failure() bool {
	return c.Previous == Up && c.State == Down && !c.AdministrativelyDown()
}
