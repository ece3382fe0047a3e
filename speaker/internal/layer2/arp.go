// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"net/netip"
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

// request is what counts of an ARP request.
type request struct {
	sender     mac
	senderAddr [4]byte
	target     [4]byte
}

// parseRequest reads a frame. It is false for all but well-formed requests that
// can be answered; announcements, in which both addresses are the same, ask for
// nothing (RFC 5227, section 1.1).
func parseRequest(frame []byte) (request, bool) {
	if len(frame) < arpFrameLen ||
		binary.BigEndian.Uint16(frame[etherTypeAt:]) != etherTypeARP ||
		binary.BigEndian.Uint16(frame[arpHardwareAt:]) != arpEthernet ||
		binary.BigEndian.Uint16(frame[arpProtocolAt:]) != arpIPv4 ||
		frame[arpHardwareLen] != 6 || frame[arpProtocolLen] != 4 ||
		binary.BigEndian.Uint16(frame[arpOperationAt:]) != arpRequest {
		return request{}, false
	}
	r := request{
		sender:     mac(frame[arpSenderAt:]),
		senderAddr: [4]byte(frame[arpSenderAddrAt:]),
		target:     [4]byte(frame[arpTargetAddrAt:]),
	}
	return r, isUnicast(r.sender) && r.senderAddr != r.target
}

// arpPacket is a packet to be sent, except for the sender's hardware address.
type arpPacket struct {
	destination mac // of the frame
	operation   uint16
	senderAddr  [4]byte
	target      mac
	targetAddr  [4]byte
}

// putARP writes p as sent by self.
func putARP(frame *[arpFrameLen]byte, self mac, p arpPacket) {
	putEthernet(frame[:], p.destination, self, etherTypeARP)
	binary.BigEndian.PutUint16(frame[arpHardwareAt:], arpEthernet)
	binary.BigEndian.PutUint16(frame[arpProtocolAt:], arpIPv4)
	frame[arpHardwareLen], frame[arpProtocolLen] = 6, 4
	binary.BigEndian.PutUint16(frame[arpOperationAt:], p.operation)
	copy(frame[arpSenderAt:], self[:])
	copy(frame[arpSenderAddrAt:], p.senderAddr[:])
	copy(frame[arpTargetAt:], p.target[:])
	copy(frame[arpTargetAddrAt:], p.targetAddr[:])
}

// arpCodec speaks ARP on one interface.
type arpCodec struct {
	table *table
	name  string
	self  mac

	reply [arpFrameLen]byte
	last  *counters // of the address answered for last
}

// Answer implements Answerer.
func (c *arpCodec) Answer(frame []byte) []byte {
	r, ok := parseRequest(frame)
	if !ok || !isFor(frame, c.self) {
		return nil
	}
	e := c.table.get(netip.AddrFrom4(r.target))
	if e == nil || !e.allows(c.name) {
		return nil
	}
	e.counters.requests.Add(1)
	c.last = e.counters
	putARP(&c.reply, c.self, arpPacket{
		destination: r.sender, operation: arpReply,
		senderAddr: r.target, target: r.sender, targetAddr: r.senderAddr,
	})
	return c.reply[:]
}

// Answered implements Answerer.
func (c *arpCodec) Answered() { c.last.responses.Add(1) }

// announcements yields the frames that announce address: in the form of a
// request, which RFC 5227 section 3 has, and in that of a reply, which some
// stations heed and others do not. RFC 5944, section 4.6, describes both.
func (c *arpCodec) announcements(address netip.Addr, yield func(frame []byte) error) error {
	var frame [arpFrameLen]byte
	p := arpPacket{destination: broadcast(), operation: arpRequest, senderAddr: address.As4(), targetAddr: address.As4()}
	putARP(&frame, c.self, p)
	if err := yield(frame[:]); err != nil {
		return err
	}
	p.operation, p.target = arpReply, c.self
	putARP(&frame, c.self, p)
	return yield(frame[:])
}
