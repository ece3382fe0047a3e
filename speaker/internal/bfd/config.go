// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Path is what a session watches, and its identity: there is one session on a
// path. It is comparable.
type Path struct {
	// Peer is the address of the other end, without zone.
	Peer netip.Addr
	// Local is the address to send from; invalid means that the kernel chooses.
	// Packets to other addresses of this node then belong to the session too.
	Local netip.Addr
	// Interface is the name of the link to the peer, empty for the one that the
	// routes lead to. A link-local peer needs it. A multihop path has none.
	Interface string
	// VRF is the name of the VRF device that the path is in; empty: none.
	VRF string
	// Multihop says that routers may be on the path (RFC 5883).
	Multihop bool
}

// String names the path in logs.
func (p Path) String() string {
	name := p.Peer.String()
	if p.Interface != "" {
		name += "%" + p.Interface
	}
	if p.Local.IsValid() {
		name += " from " + p.Local.String()
	}
	if p.Multihop {
		name += " multihop"
	}
	if p.VRF != "" {
		name += " VRF " + p.VRF
	}
	return name
}

// validate says what is wrong with a path, if anything.
func (p Path) validate() error {
	switch {
	case !p.Peer.IsValid() || p.Peer.IsUnspecified() || p.Peer.IsMulticast():
		return fmt.Errorf("peer %s: want a unicast address", p.Peer)
	case p.Peer.Zone() != "" || p.Local.Zone() != "":
		return fmt.Errorf("peer %s: name the interface apart from the address", p.Peer)
	case p.Peer.Is4In6() || p.Local.Is4In6():
		return fmt.Errorf("peer %s: write an IPv4 address as such", p.Peer)
	case p.Local.IsValid() && p.Local.Is4() != p.Peer.Is4():
		return fmt.Errorf("local address %s: not of the family of the peer %s", p.Local, p.Peer)
	case p.Multihop && p.Interface != "":
		return fmt.Errorf("interface %s: a multihop path to %s has none", p.Interface, p.Peer)
	case p.Peer.IsLinkLocalUnicast() && p.Peer.Is6() && p.Interface == "":
		return fmt.Errorf("peer %s: a link-local address needs the name of an interface", p.Peer)
	}
	return nil
}

// Defaults of a Config, which are those of FRR.
const (
	DefaultInterval         = 300 * time.Millisecond
	DefaultDetectMultiplier = 3
	DefaultEchoInterval     = 50 * time.Millisecond
	DefaultMinimumTTL       = 254
)

// Config is how a session is kept: a BFDProfile. The zero value is the default.
type Config struct {
	// TransmitInterval is bfd.DesiredMinTxInterval; 0 is DefaultInterval. While a
	// session is not up it is at least a second (RFC 5880, section 6.8.3).
	TransmitInterval time.Duration
	// ReceiveInterval is bfd.RequiredMinRxInterval; 0 is DefaultInterval.
	ReceiveInterval time.Duration
	// SlowInterval is the least transmit interval while the session is not up; 0 is the
	// second that RFC 5880, section 6.8.3, demands of strangers.
	SlowInterval time.Duration
	// DetectMultiplier is bfd.DetectMult; 0 is DefaultDetectMultiplier.
	DetectMultiplier uint8
	// EchoInterval is the least interval between echo packets, sent or looped
	// back; 0 is DefaultEchoInterval.
	EchoInterval time.Duration
	// Echo turns the echo function on (RFC 5880, section 6.4): over one IPv4 hop,
	// and as soon as the peer says that it loops packets back.
	Echo bool
	// Passive waits for the peer to speak first (RFC 5880, section 6.1).
	Passive bool
	// MinimumTTL is the least TTL of a packet of a multihop path (RFC
	// 5883); 0 is DefaultMinimumTTL. A single hop always wants 255.
	MinimumTTL uint8
	// AdminDown holds the session down and tells the peer that this is no failure
	// (RFC 5880, section 6.8.16).
	AdminDown bool
}

// The bounds of an interval: below, no timer here could keep it; above, it does
// not fit into a packet.
const (
	minInterval = time.Millisecond
	maxInterval = time.Hour
)

// complete returns c with the defaults filled in, or what is wrong with it.
func (c Config) complete() (Config, error) {
	setDefault(&c.TransmitInterval, DefaultInterval)
	setDefault(&c.ReceiveInterval, DefaultInterval)
	setDefault(&c.SlowInterval, slowInterval)
	setDefault(&c.DetectMultiplier, DefaultDetectMultiplier)
	setDefault(&c.EchoInterval, DefaultEchoInterval)
	setDefault(&c.MinimumTTL, DefaultMinimumTTL)
	return c, errors.Join(
		checkInterval("transmit interval", c.TransmitInterval),
		checkInterval("receive interval", c.ReceiveInterval),
		checkInterval("slow interval", c.SlowInterval),
		checkInterval("echo interval", c.EchoInterval),
	)
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func checkInterval(name string, d time.Duration) error {
	if d < minInterval || d > maxInterval || d%time.Microsecond != 0 {
		return fmt.Errorf("%s %s: want whole microseconds from %s to %s", name, d, minInterval, maxInterval)
	}
	return nil
}
