// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"

	"github.com/herald-lb/herald/e2e/internal/wire"
)

const etherTypeARP = 0x0806

// The places of the addresses in an ARP frame.
const (
	senderIP = 28
	targetIP = 38
)

// arpFrame is an ARP request, which is aimed anew each time: what it measures takes no longer
// than to make one.
type arpFrame []byte

func newARPFrame(mac net.HardwareAddr, self netip.Addr) arpFrame {
	return wire.ARPRequest(mac, self, netip.IPv4Unspecified())
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
