// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Peer is a BGPPeer that can be used: a router that nodes hold a session with.
type Peer struct {
	Namespace, Name string
	Created         time.Time

	// MyASN is the autonomous system of the nodes.
	MyASN uint32
	// LocalASN is what this peer is told in place of MyASN. Zero: MyASN itself.
	LocalASN uint32
	// ASN is the peer's autonomous system. Zero: not known beforehand, see Dynamic.
	ASN uint32
	// Dynamic is which kind of peer is accepted where ASN is zero.
	Dynamic DynamicASN

	// Address is the peer's. Invalid: the peer is the neighbour on Interface.
	Address netip.Addr
	// Interface is where an unnumbered peer is found; empty for all others.
	Interface string
	// VRF is the device that the session is bound to; empty: none.
	VRF string
	// Port is the peer's TCP port; never zero.
	Port uint16
	// Source is the local address of the session. Invalid: the kernel chooses.
	Source netip.Addr
	// MultiHop permits an external peer that is not directly connected.
	MultiHop bool

	// SecuredHops is how many hops the peer is away if it is held to that (GTSM, RFC 5082).
	// Zero: it is not.
	SecuredHops uint8

	// HoldTime is the proposed Hold Time in whole seconds (RFC 4271, 4.2). Zero: no
	// hold timer and no keepalives.
	HoldTime time.Duration
	// KeepaliveTime is in whole seconds and at most HoldTime; zero if and only if
	// HoldTime is.
	KeepaliveTime time.Duration
	// ConnectTime is the ConnectRetryTime (RFC 4271, 10). Zero: unset.
	ConnectTime time.Duration

	// RouterID is the BGP Identifier (RFC 4271, 4.2) wished for. Invalid: unset.
	RouterID netip.Addr
	// Password authenticates the session (RFC 2385). Empty: no authentication.
	Password Password
	// BFD guards the session (RFC 5882). Nil: nothing does.
	BFD *BFDProfile
	// GracefulRestart asks the peer to keep our routes while we restart (RFC 4724).
	GracefulRestart bool
	// BothFamilies carries routes of both families, whichever Address has.
	BothFamilies bool

	// NodeSelectors are alternatives. Empty: every node.
	NodeSelectors []labels.Selector
}

// DynamicASN says which autonomous systems a peer may be in when its number is not
// known. The zero value is none: the number is known.
type DynamicASN uint8

// Kinds of peers with an unknown AS number.
const (
	InternalASN DynamicASN = iota + 1
	ExternalASN
)

// SessionASN returns the AS number that the peer is told to be ours.
func (p *Peer) SessionASN() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// Internal reports whether the session is within one autonomous system.
func (p *Peer) Internal() bool {
	return p.Dynamic == InternalASN || p.ASN == p.SessionASN()
}

// Carries reports whether the session has routes of that family. One that was found by
// its link-local address has both (RFC 8950).
func (p *Peer) Carries(f Family) bool {
	return p.BothFamilies || !p.Address.IsValid() || FamilyOf(p.Address) == f
}

// On reports whether nodes with these labels hold the session.
func (p *Peer) On(node labels.Set) bool {
	return len(p.NodeSelectors) == 0 || AnyMatches(p.NodeSelectors, node)
}

// Password is a secret that does not get into logs by accident.
type Password string

// String does not tell the password.
func (p Password) String() string {
	if p == "" {
		return "none"
	}
	return "(hidden)"
}

// GoString does not tell the password either, which %#v would.
func (p Password) GoString() string { return p.String() }

// Reveal returns the password itself.
func (p Password) Reveal() string { return string(p) }

// BFDProfile holds the settings of BFD sessions (RFC 5880). The defaults of settings
// that are not given are FRR's.
type BFDProfile struct {
	Name string
	// Receive is bfd.RequiredMinRxInterval, Transmit is bfd.DesiredMinTxInterval.
	Receive, Transmit time.Duration
	// Multiplier is bfd.DetectMult.
	Multiplier uint8
	// Echo turns the echo function on, and EchoInterval is its pace.
	Echo         bool
	EchoInterval time.Duration
	// Passive waits for the peer to send first.
	Passive bool
	// MinimumTTL is the least TTL that a multihop session accepts (RFC 5883, 5).
	MinimumTTL uint8
}

// DefaultBFDProfile returns the settings of a profile that gives none.
func DefaultBFDProfile(name string) BFDProfile {
	return BFDProfile{
		Name: name, Receive: 300 * time.Millisecond, Transmit: 300 * time.Millisecond, Multiplier: 3,
		EchoInterval: 50 * time.Millisecond, MinimumTTL: 254,
	}
}

// BGPAdvertisement says which addresses are advertised to which peers, by which nodes,
// and with which path attributes.
type BGPAdvertisement struct {
	Namespace, Name string
	Created         time.Time
	// Pools are the names of all pools the advertisement covers: those it lists,
	// those its selectors match, or every pool when it has neither.
	Pools map[string]struct{}
	// Aggregation4 and Aggregation6 are the lengths in bits of the prefixes that
	// addresses are advertised in.
	Aggregation4, Aggregation6 int
	// LocalPref is the LOCAL_PREF for internal peers. Zero: unset.
	LocalPref uint32
	// Communities are sorted and unique.
	Communities []Community
	// NodeSelectors are alternatives. Empty: every node.
	NodeSelectors []labels.Selector
	// Peers are the names of the peers that are told. Nil: every peer. It may be empty,
	// when only peers are named that do not exist, and then nobody is told.
	Peers map[string]struct{}
	// ServiceSelectors are alternatives. Empty: every Service.
	ServiceSelectors []labels.Selector
}

// Aggregation returns the length of prefixes of that family.
func (a *BGPAdvertisement) Aggregation(f Family) int {
	if f == IPv4 {
		return a.Aggregation4
	}
	return a.Aggregation6
}

// LengthIn returns the length of prefixes in which addresses of a pool's range are
// advertised.
func (a *BGPAdvertisement) LengthIn(entry Range) int {
	if !a.Fits(entry) {
		return entry.first.BitLen()
	}
	return a.Aggregation(entry.Family())
}

// Fits reports whether the prefixes of the advertisement are no larger than the largest
// prefix in a range of a pool. Addresses of a range that is too small for them are
// advertised one by one, because a larger prefix would draw foreign traffic.
func (a *BGPAdvertisement) Fits(entry Range) bool {
	length := a.Aggregation(entry.Family())
	return length == entry.first.BitLen() || length >= entry.ShortestPrefix()
}

// Tells reports whether the peer of that name is told.
func (a *BGPAdvertisement) Tells(peer string) bool {
	if a.Peers == nil {
		return true
	}
	_, ok := a.Peers[peer]
	return ok
}

// On reports whether nodes with these labels advertise.
func (a *BGPAdvertisement) On(node labels.Set) bool {
	return len(a.NodeSelectors) == 0 || AnyMatches(a.NodeSelectors, node)
}
