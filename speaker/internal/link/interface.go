// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"slices"
)

// Interface is what Herald needs to know of one network interface. Values are
// immutable once they are in a snapshot; the slice must not be modified.
type Interface struct {
	// Index is the kernel's number for the interface, unique while it exists.
	Index int
	// Name may change during the life of an interface, and be reused after it.
	Name string
	// MAC is the hardware address of an Ethernet interface, else zero.
	MAC [6]byte
	// MTU is in bytes, without the Ethernet header.
	MTU int
	// Up says that the interface can carry packets: set up by the administrator
	// (IFF_UP) and operational (IFF_RUNNING; RFC 2863's ifOperStatus).
	Up bool
	// Ups counts how often Up became true since the interface was first seen.
	// Snapshots may skip a short flap; this number does not.
	Ups uint32
	// Master says that the interface is part of a bond, a bridge or a VRF.
	Master bool
	// ARP says that the interface resolves IPv4 neighbors: it can broadcast and
	// ARP has not been turned off.
	ARP bool
	// LinkLocal6 is the IPv6 link-local address, without zone, once duplicate
	// address detection has let it pass (RFC 4862, section 5.4); else invalid.
	LinkLocal6 netip.Addr
	// Prefixes are the addresses with the lengths of their prefixes, host bits
	// included, sorted. Addresses that failed duplicate detection are absent.
	Prefixes []netip.Prefix
}

// equal says whether a and b are the same in every field.
func equal(a, b Interface) bool {
	if !slices.Equal(a.Prefixes, b.Prefixes) {
		return false
	}
	return a.Index == b.Index && a.Name == b.Name && a.MAC == b.MAC && a.MTU == b.MTU &&
		a.Up == b.Up && a.Ups == b.Ups && a.Master == b.Master && a.ARP == b.ARP && a.LinkLocal6 == b.LinkLocal6
}
