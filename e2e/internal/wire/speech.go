// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// Speaks reports who says in an Ethernet frame that it has an address, asked or unasked: an
// ARP reply or announcement, or a neighbor advertisement.
func Speaks(frame []byte) (addr netip.Addr, mac string, ok bool) {
	if len(frame) < ethernetLen {
		return netip.Addr{}, "", false
	}
	body := frame[ethernetLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeARP:
		p := new(arp.Packet)
		if p.UnmarshalBinary(body) != nil || p.Operation != arp.OperationReply && p.SenderIP != p.TargetIP {
			return netip.Addr{}, "", false
		}
		return p.SenderIP, p.SenderHardwareAddr.String(), true
	case etherTypeIPv6:
		na, _, ok := advertised(body)
		if !ok || targetLinkLayer(na) == nil {
			return netip.Addr{}, "", false
		}
		return na.TargetAddress, targetLinkLayer(na).String(), true
	}
	return netip.Addr{}, "", false
}

// Gratuitous reports whether an Ethernet frame tells everybody on the LAN, unasked, who
// has an address: an ARP announcement (RFC 5227 section 3), as a request or a reply, or
// an unsolicited neighbour advertisement that overrides (RFC 4861 section 7.2.6).
func Gratuitous(frame []byte) (addr netip.Addr, mac string, ok bool) {
	if len(frame) < ethernetLen {
		return netip.Addr{}, "", false
	}
	body := frame[ethernetLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeARP:
		broadcast := bytes.Equal(frame[:6], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		p := new(arp.Packet)
		if !broadcast || p.UnmarshalBinary(body) != nil || p.SenderIP != p.TargetIP {
			return netip.Addr{}, "", false
		}
		return p.SenderIP, p.SenderHardwareAddr.String(), true
	case etherTypeIPv6:
		na, to, ok := advertised(body)
		if !ok || to != netip.MustParseAddr("ff02::1") || na.Solicited || !na.Override {
			return netip.Addr{}, "", false
		}
		return na.TargetAddress, targetLinkLayer(na).String(), true
	}
	return netip.Addr{}, "", false
}

// advertised returns the neighbor advertisement in an IPv6 packet, and whom it is sent to.
func advertised(packet []byte) (na *ndp.NeighborAdvertisement, to netip.Addr, ok bool) {
	if len(packet) < ipv6Len || packet[6] != 58 || packet[7] != 255 {
		return nil, netip.Addr{}, false
	}
	message, err := ndp.ParseMessage(packet[ipv6Len:])
	if err != nil {
		return nil, netip.Addr{}, false
	}
	na, ok = message.(*ndp.NeighborAdvertisement)
	return na, netip.AddrFrom16([16]byte(packet[24:40])), ok
}

// targetLinkLayer returns the option of that name; nil if there is none.
func targetLinkLayer(na *ndp.NeighborAdvertisement) net.HardwareAddr {
	for _, option := range na.Options {
		if lla, ok := option.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Target {
			return lla.Addr
		}
	}
	return nil
}
