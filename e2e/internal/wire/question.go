// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	ethernetLen   = 14
	ipv6Len       = 40
)

// ARPRequest returns the frame in which a station asks everybody for an IPv4 address (RFC
// 826).
func ARPRequest(mac net.HardwareAddr, source, target netip.Addr) []byte {
	frame := ethernet(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, etherTypeARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	frame = append(frame, mac...)
	frame = append(frame, source.AsSlice()...)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	return append(frame, target.AsSlice()...)
}

// Solicitation returns the frame in which a station asks the solicited-node group of an
// IPv6 address for it, with its source link-layer address (RFC 4861, section 4.3).
func Solicitation(mac net.HardwareAddr, source, target netip.Addr) []byte {
	s, t := source.As16(), target.As16()
	group := [16]byte{0xff, 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]}

	message := []byte{135, 0, 0, 0, 0, 0, 0, 0}
	message = append(message, t[:]...)
	message = append(message, 1, 1)
	message = append(message, mac...)
	binary.BigEndian.PutUint16(message[2:], icmpChecksum(s, group, message))

	frame := ethernet(net.HardwareAddr{0x33, 0x33, group[12], group[13], group[14], group[15]}, mac, etherTypeIPv6)
	frame = append(frame, 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(message)))
	frame = append(frame, 58, 255) // ICMPv6, hop limit
	frame = append(frame, s[:]...)
	frame = append(frame, group[:]...)
	return append(frame, message...)
}

func ethernet(to, from net.HardwareAddr, etherType uint16) []byte {
	return binary.BigEndian.AppendUint16(slices.Concat(to, from), etherType)
}

// icmpChecksum is that of RFC 4443 section 2.3 over the pseudo-header and the message.
func icmpChecksum(source, destination [16]byte, message []byte) uint16 {
	header := append(slices.Clone(source[:]), destination[:]...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(message)))
	header = append(header, 0, 0, 0, 58)
	var sum uint32
	for bytes := range slices.Chunk(append(header, message...), 2) {
		sum += uint32(bytes[0]) << 8
		if len(bytes) == 2 {
			sum += uint32(bytes[1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
