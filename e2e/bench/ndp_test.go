// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// A frame asks for one address after the other, each time with the right checksum.
func TestSolicitor(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	self := netip.MustParseAddr("2001:db8:2::101")
	f := solicitor{mac, self}
	for _, a := range []string{"2001:db8:64::1", "2001:db8:64::ff:ffff", "fe80::1"} {
		target := netip.MustParseAddr(a)
		frame := f.request(target)
		header, err := ipv6.ParseHeader(frame[14:])
		if err != nil {
			t.Fatal(err)
		}
		message := frame[14+ipv6.HeaderLen:]
		if len(message) != header.PayloadLen || header.HopLimit != 255 {
			t.Errorf("%s: %d octets of message, header %v", a, len(message), header)
		}
		if m, err := icmp.ParseMessage(58, message); err != nil || m.Type != ipv6.ICMPTypeNeighborSolicitation {
			t.Errorf("%s: message %v, error %v", a, m, err)
		}
		covered := append(icmp.IPv6PseudoHeader(header.Src, header.Dst), message...)
		binary.BigEndian.PutUint32(covered[32:], uint32(len(message)))
		if n := sum(covered); n%0xffff != 0 {
			t.Errorf("%s: the sum with the checksum is %#x", a, n)
		}
		if got, ok := netip.AddrFromSlice(message[8:24]); !ok || got != target {
			t.Errorf("asks for %s, want %s", got, target)
		}
		if header.Dst[13] != target.AsSlice()[13] || frame[5] != target.AsSlice()[15] {
			t.Errorf("%s: to %s, %x", a, header.Dst, frame[:6])
		}
	}
}

// sum adds up an even number of octets as RFC 1071 does, without the carries.
func sum(b []byte) (n uint32) {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	return n
}
