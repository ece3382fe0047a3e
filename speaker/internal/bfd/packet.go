// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State is the state of a session (RFC 5880, section 6.2). The numbers are those
// on the wire.
type State uint8

// The states (section 4.1, Sta).
const (
	AdminDown State = iota
	Down
	Init
	Up
)

// String returns the name the RFC gives to the state.
func (s State) String() string {
	switch s {
	case AdminDown:
		return "AdminDown"
	case Down:
		return "Down"
	case Init:
		return "Init"
	case Up:
		return "Up"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Diagnostic is why a session last changed its state (RFC 5880, section 4.1,
// Diag). Values without a name here are reserved, and carried as they are.
type Diagnostic uint8

// The diagnostics.
const (
	NoDiagnostic                Diagnostic = 0
	ControlDetectionTimeExpired Diagnostic = 1
	EchoFunctionFailed          Diagnostic = 2
	NeighborSignaledDown        Diagnostic = 3
	ForwardingPlaneReset        Diagnostic = 4
	PathDown                    Diagnostic = 5
	ConcatenatedPathDown        Diagnostic = 6
	AdministrativelyDown        Diagnostic = 7
	ReverseConcatenatedPathDown Diagnostic = 8
)

// String says the diagnostic in the words of the RFC.
func (d Diagnostic) String() string {
	switch d {
	case NoDiagnostic:
		return "no diagnostic"
	case ControlDetectionTimeExpired:
		return "control detection time expired"
	case EchoFunctionFailed:
		return "echo function failed"
	case NeighborSignaledDown:
		return "neighbor signaled session down"
	case ForwardingPlaneReset:
		return "forwarding plane reset"
	case PathDown:
		return "path down"
	case ConcatenatedPathDown:
		return "concatenated path down"
	case AdministrativelyDown:
		return "administratively down"
	case ReverseConcatenatedPathDown:
		return "reverse concatenated path down"
	}
	return fmt.Sprintf("reserved diagnostic %d", uint8(d))
}

// Packet is a control packet without authentication (RFC 5880, section 4.1).
type Packet struct {
	Diagnostic              Diagnostic
	State                   State
	Poll                    bool
	Final                   bool
	ControlPlaneIndependent bool
	Demand                  bool
	DetectMultiplier        uint8
	MyDiscriminator         uint32
	YourDiscriminator       uint32 // 0: not known yet
	// The intervals are whole microseconds of at most 32 bits.
	DesiredMinTx      time.Duration
	RequiredMinRx     time.Duration // 0: send nothing periodically
	RequiredMinEchoRx time.Duration // 0: send no echo packets
}

// What section 4.1 says of the wire.
const (
	version = 1
	// packetLength is the length of a packet without authentication.
	packetLength = 24

	flagPoll           = 1 << 5
	flagFinal          = 1 << 4
	flagIndependent    = 1 << 3
	flagAuthentication = 1 << 2
	flagDemand         = 1 << 1
	flagMultipoint     = 1 << 0
)

// errAuthenticated: authentication is not implemented, and section 6.8.6 wants a
// packet that has it discarded where it is not in use.
var errAuthenticated = errors.New("packet is authenticated, which is not supported: turn authentication off at the peer")

// parse reads a control packet and makes the checks of RFC 5880, section 6.8.6
// that need no session. Bytes behind the packet are ignored, as it says.
func parse(b []byte) (Packet, error) {
	if len(b) < packetLength {
		return Packet{}, fmt.Errorf("packet has %d bytes, want at least %d", len(b), packetLength)
	}
	flags := b[1]
	p := Packet{
		Diagnostic:              Diagnostic(b[0] & 0x1f),
		State:                   State(flags >> 6),
		Poll:                    flags&flagPoll != 0,
		Final:                   flags&flagFinal != 0,
		ControlPlaneIndependent: flags&flagIndependent != 0,
		Demand:                  flags&flagDemand != 0,
		DetectMultiplier:        b[2],
		MyDiscriminator:         binary.BigEndian.Uint32(b[4:]),
		YourDiscriminator:       binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx:            interval(b[12:]),
		RequiredMinRx:           interval(b[16:]),
		RequiredMinEchoRx:       interval(b[20:]),
	}
	length := int(b[3])
	switch {
	case b[0]>>5 != version:
		return Packet{}, fmt.Errorf("packet has version %d, want %d", b[0]>>5, version)
	case length < packetLength || length > len(b):
		return Packet{}, fmt.Errorf("packet of %d bytes says that it has %d", len(b), length)
	case p.DetectMultiplier == 0:
		return Packet{}, errors.New("packet has a detection multiplier of zero")
	case flags&flagMultipoint != 0:
		return Packet{}, errors.New("packet has the multipoint bit set")
	case p.MyDiscriminator == 0:
		return Packet{}, errors.New("packet has no discriminator of its sender")
	case p.YourDiscriminator == 0 && p.State != Down && p.State != AdminDown:
		return Packet{}, fmt.Errorf("packet in state %s has no discriminator of ours", p.State)
	case flags&flagAuthentication != 0:
		return Packet{}, errAuthenticated
	}
	return p, nil
}

// append appends the packet to b in the form it has on the wire.
func (p *Packet) append(b []byte) []byte {
	flags := byte(p.State) << 6
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{p.Poll, flagPoll},
		{p.Final, flagFinal},
		{p.ControlPlaneIndependent, flagIndependent},
		{p.Demand, flagDemand},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, version<<5|byte(p.Diagnostic)&0x1f, flags, p.DetectMultiplier, packetLength)
	b = binary.BigEndian.AppendUint32(b, p.MyDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscriminator)
	b = binary.BigEndian.AppendUint32(b, microseconds(p.DesiredMinTx))
	b = binary.BigEndian.AppendUint32(b, microseconds(p.RequiredMinRx))
	return binary.BigEndian.AppendUint32(b, microseconds(p.RequiredMinEchoRx))
}

func interval(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func microseconds(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
