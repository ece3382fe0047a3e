// SPDX-License-Identifier: Apache-2.0

package layer2

import "net/netip"

// Interface is what this package needs to know of a network interface. It is
// comparable: interfaces that are equal are served alike.
type Interface struct {
	Index      int
	Name       string
	MAC        [6]byte    // zero unless Ethernet
	Up         bool       // can carry packets
	Master     bool       // is part of a bond, a bridge or a VRF
	ARP        bool       // can broadcast, and ARP is not turned off
	LinkLocal6 netip.Addr // invalid while there is none
	Ups        uint32     // how often it came up; a change means a flap
	Held       bool       // nothing is answered or announced here for now, but questions are asked
}

// Protocol is how neighbors find each other: ARP for IPv4, NDP for IPv6.
type Protocol uint8

// The protocols.
const (
	ARP Protocol = iota
	NDP
)

// String returns the protocol's name in lower case.
func (p Protocol) String() string {
	switch p {
	case ARP:
		return "arp"
	case NDP:
		return "ndp"
	}
	return "unknown"
}

// carries says whether the protocol resolves addresses like a.
func (p Protocol) carries(a netip.Addr) bool {
	return a.Is4() == (p == ARP)
}

// Usable says whether addresses can be announced on i by p: the interface is up,
// has an Ethernet address, and is not part of another one, which would answer in
// its place. ARP needs an interface that can broadcast, NDP one with a link-local
// address.
func Usable(i Interface, p Protocol) bool {
	if !i.Up || i.Master || i.MAC == (mac{}) {
		return false
	}
	if p == ARP {
		return i.ARP
	}
	return i.LinkLocal6.IsValid()
}

// identity is what an attachment depends on. When it changes, the attachment is
// replaced.
type identity struct {
	protocol Protocol
	index    int
	name     string
	mac      mac
	source   netip.Addr // NDP: the link-local address to send from
	ups      uint32
}

// identities returns what to attach to, given the interfaces there are.
func identities(interfaces []Interface) map[identity]Interface {
	want := make(map[identity]Interface)
	for _, i := range interfaces {
		for _, p := range []Protocol{ARP, NDP} {
			if i.Held || !Usable(i, p) {
				continue
			}
			id := identity{protocol: p, index: i.Index, name: i.Name, mac: i.MAC, ups: i.Ups}
			if p == NDP {
				id.source = i.LinkLocal6
			}
			want[id] = i
		}
	}
	return want
}
