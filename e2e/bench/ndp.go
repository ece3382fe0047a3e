// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/netip"

	"golang.org/x/net/bpf"

	"github.com/herald-lb/herald/e2e/internal/wire"
)

const etherTypeIPv6 = 0x86dd

// The places of what is looked for in a frame of NDP.
const (
	nextHeader = 20
	icmpType   = 54
	ndpTarget  = 62

	protocolICMPv6        = 58
	neighborAdvertisement = 136
)

// solicitor asks by neighbor solicitations.
type solicitor struct {
	mac  net.HardwareAddr
	self netip.Addr
}

func (s solicitor) etherType() uint16 { return etherTypeIPv6 }

func (s solicitor) answers() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: icmpType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighborAdvertisement, SkipTrue: 3},
		bpf.LoadAbsolute{Off: nextHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6, SkipTrue: 1},
		bpf.RetConstant{Val: 128},
		bpf.RetConstant{Val: 0},
	}
}

func (s solicitor) request(target netip.Addr) []byte { return wire.Solicitation(s.mac, s.self, target) }

func (s solicitor) answer(frame []byte) (of netip.Addr, ok bool) {
	if len(frame) < ndpTarget+16 || frame[icmpType] != neighborAdvertisement {
		return of, false
	}
	return netip.AddrFrom16([16]byte(frame[ndpTarget:])), true
}
