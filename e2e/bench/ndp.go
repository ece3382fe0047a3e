// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

const etherTypeIPv6 = 0x86dd

// The places of what changes, or is looked for, in a frame of NDP.
const (
	ipv6Destination = 38
	icmpType        = 54
	icmpChecksum    = 56
	ndpTarget       = 62

	protocolICMPv6        = 58
	neighborAdvertisement = 136
)

// ndpFrame is a neighbor solicitation with its source link-layer address (RFC 4861,
// section 4.3), to the solicited-node group of its target.
type ndpFrame struct {
	frame []byte
	// sum is that of the pseudo-header and the message, without destination and target.
	sum uint32
}

func newNDPFrame(mac net.HardwareAddr, self netip.Addr) *ndpFrame {
	source := self.As16()
	group := []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}
	message := slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16), []byte{1, 1}, mac)
	f := &ndpFrame{frame: slices.Concat(
		[]byte{0x33, 0x33, 0xff, 0, 0, 0}, mac, []byte{0x86, 0xdd},
		[]byte{0x60, 0, 0, 0, 0, byte(len(message)), protocolICMPv6, 255}, source[:], group, message)}
	f.sum = sum(source[:]) + sum(message) + uint32(len(message)) + protocolICMPv6
	return f
}

func (f *ndpFrame) etherType() uint16 { return etherTypeIPv6 }

func (f *ndpFrame) answers() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: icmpType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighborAdvertisement, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 20, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6, SkipTrue: 1},
		bpf.RetConstant{Val: 128},
		bpf.RetConstant{Val: 0},
	}
}

func (f *ndpFrame) request(target netip.Addr) []byte {
	ip := target.As16()
	copy(f.frame[3:], ip[13:]) // the last of the group, here and in its Ethernet address
	copy(f.frame[ipv6Destination+13:], ip[13:])
	copy(f.frame[ndpTarget:], ip[:])
	all := f.sum + sum(f.frame[ipv6Destination:icmpType]) + sum(ip[:])
	for all > 0xffff {
		all = all>>16 + all&0xffff
	}
	binary.BigEndian.PutUint16(f.frame[icmpChecksum:], ^uint16(all))
	return f.frame
}

func (f *ndpFrame) answer(frame []byte) (of netip.Addr, ok bool) {
	if len(frame) < ndpTarget+16 || frame[icmpType] != neighborAdvertisement {
		return of, false
	}
	return netip.AddrFrom16([16]byte(frame[ndpTarget:])), true
}

// sum adds up an even number of octets as RFC 1071 does, without the carries.
func sum(b []byte) (n uint32) {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	return n
}
