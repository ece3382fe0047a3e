// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// PeerName names a peer. It is the caller's own and never on the wire.
type PeerName string

// Families is a set of address families of RFC 4760, all of them unicast.
type Families uint8

// The families there are.
const (
	IPv4Unicast Families = 1 << iota
	IPv6Unicast
)

// Has says whether all of f are in the set.
func (s Families) Has(f Families) bool { return s&f == f }

func (s Families) String() string {
	var names []string
	if s.Has(IPv4Unicast) {
		names = append(names, "ipv4-unicast")
	}
	if s.Has(IPv6Unicast) {
		names = append(names, "ipv6-unicast")
	}
	return strings.Join(names, ",")
}

// familyOf returns the family that an address or prefix of this kind belongs to.
func familyOf(a netip.Addr) Families {
	if a.Is4() {
		return IPv4Unicast
	}
	return IPv6Unicast
}

// ASNMode says which AS numbers a peer may come with.
type ASNMode uint8

const (
	// ASNExact is the number in RemoteASN.
	ASNExact ASNMode = iota
	// ASNInternal is LocalASN: an iBGP peer.
	ASNInternal
	// ASNExternal is any number but LocalASN: an eBGP peer.
	ASNExternal
)

// Defaults for what is zero in a Peer.
const (
	DefaultPort        = 179              // RFC 4271, 8.2.1
	DefaultHoldTime    = 90 * time.Second // RFC 4271, 10
	DefaultRestartTime = 120 * time.Second
	// DefaultConnectRetry is far below the 120 s of RFC 4271: a router that has come
	// back should have its routes before anyone asks.
	DefaultConnectRetry = 2 * time.Second

	// minHoldTime is RFC 4271, 4.2: zero or at least three seconds.
	minHoldTime = 3 * time.Second
	maxHoldTime = math.MaxUint16 * time.Second
	// maxRestartTime is what 12 bits hold (RFC 4724, 3).
	maxRestartTime = 4095 * time.Second
)

// Password is a secret. It is not printed.
type Password string

// String hides the password.
func (p Password) String() string {
	if p == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides it too.
func (p Password) GoString() string { return p.String() }

// Peer is a router to have a session with. Peers are compared with ==; a session is
// opened anew whenever anything here changes.
type Peer struct {
	// Address is where to reach it, with a zone if link-local. Invalid if Interface is
	// given.
	Address netip.Addr
	// Interface is the link at whose other end the peer is found by its router
	// advertisements (unnumbered). Routes get link-local next hops (RFC 8950).
	Interface string
	// Port is the peer's TCP port. Zero is DefaultPort.
	Port uint16
	// Source is the address to connect from. Invalid leaves it to the kernel.
	Source netip.Addr
	// Device binds the connection to a device, which is how it gets into a VRF.
	Device string

	// LocalASN is the number to introduce ourselves with. It is needed.
	LocalASN uint32
	// RemoteASN is the number to expect, if Mode is ASNExact.
	RemoteASN uint32
	// Mode says what RemoteASN means.
	Mode ASNMode
	// RouterID is our BGP Identifier, an IPv4 address. It is needed.
	RouterID netip.Addr

	// HoldTime is proposed to the peer, the lesser of both holds. Zero is
	// DefaultHoldTime, in whole seconds.
	HoldTime time.Duration
	// NoHoldTime asks for a session that never times out. The wire's zero cannot be had
	// from gobgp, so that the longest hold time there is, 18 hours, is proposed.
	NoHoldTime bool
	// Keepalive is the interval of KEEPALIVE messages. Zero is a third of the hold time.
	Keepalive time.Duration
	// ConnectRetry is the least time between two attempts; the most is twice that. Zero
	// is DefaultConnectRetry.
	ConnectRetry time.Duration

	// Password is the key of TCP MD5 signatures (RFC 2385). Empty is none.
	Password Password
	// MultihopTTL is the TTL to reach an eBGP peer that is no neighbor. Zero is for one
	// that is. It means nothing to iBGP.
	MultihopTTL uint8
	// MinTTL is the least TTL to accept from the peer, and makes us send 255 (GTSM, RFC
	// 5082): 255 for a neighbor, one less for every router between. Zero is off.
	MinTTL uint8

	// GracefulRestart keeps our routes at the peer while we restart (RFC 4724).
	GracefulRestart bool
	// RestartTime is for how long. Zero is DefaultRestartTime.
	RestartTime time.Duration

	// Families are proposed to the peer. Zero is that of the peer's address, or both
	// for an unnumbered peer.
	Families Families
	// NextHop4 and NextHop6 are next hops for paths that have none of their own. If one
	// is invalid it is found: the address the session is opened from, or an address of
	// the same interface if the family is the other one.
	NextHop4, NextHop6 netip.Addr
}

// remoteASN returns the number to expect, and zero for any.
func (p *Peer) remoteASN() uint32 {
	switch p.Mode {
	case ASNExact:
		return p.RemoteASN
	case ASNInternal:
		return p.LocalASN
	case ASNExternal:
		return 0
	}
	return 0
}

// internal says whether it is known beforehand to be an iBGP peer.
func (p *Peer) internal() bool {
	return p.Mode == ASNInternal || p.Mode == ASNExact && p.RemoteASN == p.LocalASN
}

// withDefaults returns the peer with nothing left to default, or what is wrong with it.
func (p Peer) withDefaults() (Peer, error) {
	if p.Port == 0 {
		p.Port = DefaultPort
	}
	if p.HoldTime == 0 {
		p.HoldTime = DefaultHoldTime
	}
	if p.NoHoldTime {
		p.HoldTime = maxHoldTime
	}
	if p.Keepalive == 0 {
		p.Keepalive = p.HoldTime / 3
	}
	if p.ConnectRetry == 0 {
		p.ConnectRetry = DefaultConnectRetry
	}
	if p.RestartTime == 0 {
		p.RestartTime = DefaultRestartTime
	}
	if p.Families == 0 {
		p.Families = IPv4Unicast | IPv6Unicast
		if p.Interface == "" {
			p.Families = familyOf(p.Address)
		}
	}
	return p, p.check()
}

func (p *Peer) check() error {
	switch {
	case p.Address.IsValid() == (p.Interface != ""):
		return fmt.Errorf("a peer has either an address or an interface, not %q and %q", p.Address, p.Interface)
	case p.LocalASN == 0:
		return fmt.Errorf("local ASN 0 is reserved (RFC 7607)")
	case p.Mode == ASNExact && p.RemoteASN == 0:
		return fmt.Errorf("remote ASN 0 is reserved (RFC 7607)")
	case !p.RouterID.Is4() || p.RouterID.IsUnspecified():
		return fmt.Errorf("router ID %s is no IPv4 address", p.RouterID)
	case p.HoldTime < minHoldTime || p.HoldTime > maxHoldTime:
		return fmt.Errorf("hold time %s is not from %s to %s", p.HoldTime, minHoldTime, maxHoldTime)
	case p.Keepalive < time.Second || p.Keepalive > p.HoldTime:
		return fmt.Errorf("keepalive interval %s is not from 1s to the hold time, %s", p.Keepalive, p.HoldTime)
	case p.ConnectRetry < time.Second || p.ConnectRetry > math.MaxUint16*time.Second:
		return fmt.Errorf("connect retry time %s is not from 1s to 65535s", p.ConnectRetry)
	case p.RestartTime < time.Second || p.RestartTime > maxRestartTime:
		return fmt.Errorf("restart time %s is not from 1s to %s", p.RestartTime, maxRestartTime)
	case p.Source.IsValid() && p.Address.IsValid() && p.Source.Is4() != p.Address.Is4():
		return fmt.Errorf("source address %s and peer address %s are of different families", p.Source, p.Address)
	case p.NextHop4.IsValid() && !p.NextHop4.Is4():
		return fmt.Errorf("IPv4 next hop %s is no IPv4 address", p.NextHop4)
	case p.NextHop6.IsValid() && !p.NextHop6.Is6():
		return fmt.Errorf("IPv6 next hop %s is no IPv6 address", p.NextHop6)
	case len(p.Password) > maxPassword:
		return fmt.Errorf("password is longer than %d bytes, the most that Linux takes", maxPassword)
	}
	return nil
}

// maxPassword is TCP_MD5SIG_MAXKEYLEN.
const maxPassword = 80
