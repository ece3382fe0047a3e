// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
)

// Offsets in a frame, and values, of ARP for IPv4 on Ethernet (RFC 826).
const (
	arpHardwareAt   = 14 // ar$hrd
	arpProtocolAt   = 16 // ar$pro
	arpHardwareLen  = 18 // ar$hln
	arpProtocolLen  = 19 // ar$pln
	arpOperationAt  = 20 // ar$op
	arpSenderAt     = 22 // ar$sha
	arpSenderAddrAt = 28 // ar$spa
	arpTargetAt     = 32 // ar$tha
	arpTargetAddrAt = 38 // ar$tpa
	arpFrameLen     = 42

	arpEthernet = 1
	arpIPv4     = 0x0800
	arpRequest  = 1
	arpReply    = 2
)

// arpPacket is what counts of an ARP packet.
type arpPacket struct {
	operation  uint16 // arpRequest or arpReply
	sender     mac
	senderAddr [4]byte // unspecified in a probe
	target     [4]byte
}

// parseARP reads a frame. It is false for all but well-formed requests and replies.
func parseARP(frame []byte) (arpPacket, bool) {
	if len(frame) < arpFrameLen ||
		binary.BigEndian.Uint16(frame[etherTypeAt:]) != etherTypeARP ||
		binary.BigEndian.Uint16(frame[arpHardwareAt:]) != arpEthernet ||
		binary.BigEndian.Uint16(frame[arpProtocolAt:]) != arpIPv4 ||
		frame[arpHardwareLen] != 6 || frame[arpProtocolLen] != 4 {
		return arpPacket{}, false
	}
	p := arpPacket{
		operation:  binary.BigEndian.Uint16(frame[arpOperationAt:]),
		sender:     mac(frame[arpSenderAt:]),
		senderAddr: [4]byte(frame[arpSenderAddrAt:]),
		target:     [4]byte(frame[arpTargetAddrAt:]),
	}
	return p, isUnicast(p.sender) && (p.operation == arpRequest || p.operation == arpReply)
}

// asks says whether the packet wants an answer. Announcements, in which both
// addresses are the same, ask for nothing (RFC 5227, section 1.1).
func (p *arpPacket) asks() bool { return p.operation == arpRequest && p.senderAddr != p.target }

// putReply writes the answer of self to the request r.
func putReply(frame *[arpFrameLen]byte, self mac, r *arpPacket) {
	putEthernet(frame[:], r.sender, self, etherTypeARP)
	binary.BigEndian.PutUint16(frame[arpHardwareAt:], arpEthernet)
	binary.BigEndian.PutUint16(frame[arpProtocolAt:], arpIPv4)
	frame[arpHardwareLen], frame[arpProtocolLen] = 6, 4
	binary.BigEndian.PutUint16(frame[arpOperationAt:], arpReply)
	copy(frame[arpSenderAt:], self[:])
	copy(frame[arpSenderAddrAt:], r.target[:])
	copy(frame[arpTargetAt:], r.sender[:])
	copy(frame[arpTargetAddrAt:], r.senderAddr[:])
}

// arpCodec speaks ARP on one interface.
type arpCodec struct {
	table *table
	name  string
	self  mac
	heard func(netip.Addr, mac) // another station claims an address

	reply [arpFrameLen]byte
	last  *counters // of the address answered for last
}

// Answer implements Answerer.
func (c *arpCodec) Answer(frame []byte) []byte {
	p, ok := parseARP(frame)
	if !ok || !isFor(frame, c.self) {
		return nil
	}
	// Whoever sends from an address has it, or believes so (RFC 5227, section 2.4).
	if claimed := netip.AddrFrom4(p.senderAddr); p.sender != c.self && c.entry(claimed) != nil {
		c.heard(claimed, p.sender)
	}
	if !p.asks() {
		return nil
	}
	e := c.entry(netip.AddrFrom4(p.target))
	if e == nil {
		return nil
	}
	e.counters.requests.Add(1)
	c.last = e.counters
	putReply(&c.reply, c.self, &p)
	return c.reply[:]
}

// entry returns the entry of an address that is announced here, or nil.
func (c *arpCodec) entry(a netip.Addr) *entry {
	if e := c.table.get(a); e != nil && e.allows(c.name) {
		return e
	}
	return nil
}

// Answered implements Answerer.
func (c *arpCodec) Answered() { c.last.responses.Add(1) }

// announcements yields the frames that announce address: in the form of a
// request, which RFC 5227 section 3 has, and in that of a reply, which some
// stations heed and others do not. RFC 5944, section 4.6, describes both.
func (c *arpCodec) announcements(address netip.Addr, yield func(frame []byte) error) error {
	self := net.HardwareAddr(c.self[:])
	for _, form := range []struct {
		operation arp.Operation
		target    net.HardwareAddr
	}{
		{arp.OperationRequest, make(net.HardwareAddr, len(self))}, // not known, and not looked at
		{arp.OperationReply, self},
	} {
		p, err := arp.NewPacket(form.operation, self, address, form.target, address)
		if err != nil {
			return fmt.Errorf("announce %s: %w", address, err)
		}
		body, err := p.MarshalBinary()
		if err != nil {
			return fmt.Errorf("announce %s: %w", address, err)
		}
		frame := make([]byte, ethernetLen, ethernetLen+len(body))
		putEthernet(frame, broadcast(), c.self, etherTypeARP)
		if err := yield(append(frame, body...)); err != nil {
			return err
		}
	}
	return nil
}
