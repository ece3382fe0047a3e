// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

const etherTypeARP = 0x0806

// The places of the addresses in an ARP frame.
const (
	senderIP = 28
	targetIP = 38
)

// arpFrame is a broadcast ARP request (RFC 826).
type arpFrame []byte

func newARPFrame(mac net.HardwareAddr, self netip.Addr) arpFrame {
	return arpFrame(slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac,
		[]byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, self.AsSlice(), make([]byte, 10)))
}

func (f arpFrame) etherType() uint16 { return etherTypeARP }

func (f arpFrame) answers() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 20, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 2, SkipTrue: 1},
		bpf.RetConstant{Val: 64},
		bpf.RetConstant{Val: 0},
	}
}

func (f arpFrame) request(target netip.Addr) []byte {
	ip := target.As4()
	copy(f[targetIP:], ip[:])
	return f
}

func (f arpFrame) answer(frame []byte) (of netip.Addr, ok bool) {
	if len(frame) < targetIP+4 || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return of, false
	}
	return netip.AddrFrom4([4]byte(frame[senderIP:])), true
}
