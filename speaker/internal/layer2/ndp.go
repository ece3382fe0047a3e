// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/ndp"
)

// Offsets in a frame, and values, of neighbor discovery (RFC 8200, RFC 4861).
const (
	ipv6At            = ethernetLen
	ipv6PayloadLenAt  = 18
	ipv6NextHeaderAt  = 20
	ipv6HopLimitAt    = 21
	ipv6SourceAt      = 22
	ipv6DestinationAt = 38
	icmpAt            = 54
	icmpCodeAt        = 55
	icmpChecksumAt    = 56
	naFlagsAt         = 58
	targetAt          = 62
	optionsAt         = 78

	ipv6Version = 0x60
	ipv6ICMP    = 58
	// hopLimit proves that a packet has crossed no router (RFC 4861, section 11.2).
	hopLimit = 255

	neighborSolicitation  = 135
	neighborAdvertisement = 136
	sourceLinkLayer       = 1
	targetLinkLayer       = 2

	naSolicited = 0x40
	naOverride  = 0x20

	// naFrameLen is an advertisement with one option.
	naFrameLen = optionsAt + 8
)

// solicitation is what counts of a neighbor solicitation.
type solicitation struct {
	source [16]byte // unspecified during duplicate address detection
	target [16]byte
	sender mac // from the option, else from the frame
}

// detects says whether the solicitation is part of duplicate address detection
// (RFC 4862, section 5.4.2).
func (s solicitation) detects() bool { return s.source == [16]byte{} }

// discovery reads the headers of a frame that carries a message of neighbor discovery
// with a target, and returns it without padding. It is false unless what both types
// of messages have in common is valid by RFC 4861, sections 7.1.1 and 7.1.2.
func discovery(frame []byte, messageType byte) ([]byte, bool) {
	if len(frame) < optionsAt ||
		binary.BigEndian.Uint16(frame[etherTypeAt:]) != etherTypeIPv6 ||
		frame[ipv6At]&0xf0 != ipv6Version ||
		frame[ipv6NextHeaderAt] != ipv6ICMP || frame[ipv6HopLimitAt] != hopLimit ||
		frame[icmpAt] != messageType || frame[icmpCodeAt] != 0 || frame[targetAt] == 0xff {
		return nil, false
	}
	end := icmpAt + int(binary.BigEndian.Uint16(frame[ipv6PayloadLenAt:]))
	if end < optionsAt || end > len(frame) {
		return nil, false
	}
	return frame[:end], checksum(frame[:end]) == 0
}

// parseSolicitation reads a frame. It is false for all but solicitations that
// are valid by RFC 4861, section 7.1.1.
func parseSolicitation(frame []byte) (solicitation, bool) {
	frame, ok := discovery(frame, neighborSolicitation)
	if !ok {
		return solicitation{}, false
	}
	s := solicitation{
		source: [16]byte(frame[ipv6SourceAt:]),
		target: [16]byte(frame[targetAt:]),
		sender: mac(frame[6:]),
	}
	option, ok := linkLayerOption(frame[optionsAt:], sourceLinkLayer)
	if !ok || !plausible(s, [16]byte(frame[ipv6DestinationAt:]), option) {
		return solicitation{}, false
	}
	if option != nil {
		s.sender = mac(option)
	}
	return s, isUnicast(s.sender)
}

// parseAdvertisement reads a frame, and returns which address is said to be where. It
// is false for all but advertisements that are valid by RFC 4861, section 7.1.2. One
// without the option that says where speaks of its sender.
func parseAdvertisement(frame []byte) (target [16]byte, at mac, ok bool) {
	frame, ok = discovery(frame, neighborAdvertisement)
	if !ok || frame[ipv6DestinationAt] == 0xff && frame[naFlagsAt]&naSolicited != 0 {
		return target, at, false
	}
	at = mac(frame[6:])
	option, ok := linkLayerOption(frame[optionsAt:], targetLinkLayer)
	if option != nil {
		at = mac(option)
	}
	return [16]byte(frame[targetAt:]), at, ok && isUnicast(at)
}

// plausible checks addresses: a unicast target that was asked for at its own
// address or at its solicited-node group, by a unicast source, or by nobody in
// the course of duplicate address detection, which must not name a sender.
func plausible(s solicitation, destination [16]byte, option []byte) bool {
	group := solicitedNode(s.target)
	if s.source[0] == 0xff {
		return false
	}
	if s.detects() {
		return destination == group && option == nil
	}
	return destination == group || destination == s.target
}

// linkLayerOption finds the Source or Target Link-Layer Address option, which a
// message need not have; it is false if the options are malformed (RFC 4861, section
// 4.6). Options of other types are skipped.
func linkLayerOption(options []byte, optionType byte) (address []byte, ok bool) {
	for len(options) > 0 {
		if len(options) < 8 {
			return nil, false
		}
		length := int(options[1]) * 8
		if length == 0 || length > len(options) {
			return nil, false
		}
		if options[0] == optionType && length == 8 {
			address = options[2:8]
		}
		options = options[length:]
	}
	return address, true
}

// solicitedNode is the multicast group in which a node listens for solicitations
// for address (RFC 4291, section 2.7.1).
func solicitedNode(address [16]byte) [16]byte {
	group := [16]byte{0xff, 0x02, 11: 0x01, 12: 0xff}
	copy(group[13:], address[13:])
	return group
}

// checksum is that of ICMPv6 (RFC 4443, section 2.3) over a frame that ends with
// its IPv6 payload. It is 0 if the frame's own checksum is right; if that field
// is 0, it is the value to put there.
func checksum(frame []byte) uint16 {
	sum := uint32(len(frame)-icmpAt) + ipv6ICMP
	b := frame[ipv6SourceAt:] // both addresses and the payload follow each other
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// advertisement is a neighbor advertisement to be sent, except for its source.
type advertisement struct {
	frameTo     mac
	destination [16]byte
	flags       byte
	target      [16]byte
}

// putAdvertisement writes a as sent by self from source.
func putAdvertisement(frame *[naFrameLen]byte, self mac, source [16]byte, a advertisement) {
	putEthernet(frame[:], a.frameTo, self, etherTypeIPv6)
	clear(frame[ipv6At:])
	putIPv6(frame[:], source, a.destination, naFrameLen-icmpAt)
	frame[icmpAt] = neighborAdvertisement
	frame[naFlagsAt] = a.flags
	copy(frame[targetAt:], a.target[:])
	frame[optionsAt], frame[optionsAt+1] = targetLinkLayer, 1
	copy(frame[optionsAt+2:], self[:])
	binary.BigEndian.PutUint16(frame[icmpChecksumAt:], checksum(frame[:]))
}

// putIPv6 writes the IPv6 header of a packet of neighbor discovery.
func putIPv6(frame []byte, source, destination [16]byte, payload uint16) {
	frame[ipv6At] = ipv6Version
	binary.BigEndian.PutUint16(frame[ipv6PayloadLenAt:], payload)
	frame[ipv6NextHeaderAt], frame[ipv6HopLimitAt] = ipv6ICMP, hopLimit
	copy(frame[ipv6SourceAt:], source[:])
	copy(frame[ipv6DestinationAt:], destination[:])
}

// ndpCodec speaks NDP on one interface.
type ndpCodec struct {
	table  *table
	name   string
	self   mac
	source [16]byte              // link-local
	heard  func(netip.Addr, mac) // another station claims an address

	reply [naFrameLen]byte
	last  *counters // of the address answered for last
}

// Answer implements Answerer. The answer has the Override flag: the address is
// this node's own, neither anycast nor proxied (RFC 4861, section 7.2.4). The
// Router flag is clear: nobody is to route by way of a Service's address.
func (c *ndpCodec) Answer(frame []byte) []byte {
	if len(frame) < optionsAt || !isFor(frame, c.self) {
		return nil
	}
	if frame[icmpAt] == neighborAdvertisement {
		c.listen(frame)
		return nil
	}
	s, ok := parseSolicitation(frame)
	if !ok {
		return nil
	}
	e := c.entry(netip.AddrFrom16(s.target))
	if e == nil {
		return nil
	}
	e.counters.requests.Add(1)
	c.last = e.counters
	a := advertisement{frameTo: s.sender, destination: s.source, flags: naSolicited | naOverride, target: s.target}
	if s.detects() {
		a = unsolicited(s.target)
	}
	putAdvertisement(&c.reply, c.self, c.source, a)
	return c.reply[:]
}

// listen takes note of an advertisement.
func (c *ndpCodec) listen(frame []byte) {
	target, at, ok := parseAdvertisement(frame)
	if claimed := netip.AddrFrom16(target); ok && at != c.self && c.entry(claimed) != nil {
		c.heard(claimed, at)
	}
}

// entry returns the entry of an address that is announced here, or nil.
func (c *ndpCodec) entry(a netip.Addr) *entry {
	if e := c.table.get(a); e != nil && e.allows(c.name) {
		return e
	}
	return nil
}

// Answered implements Answerer.
func (c *ndpCodec) Answered() { c.last.responses.Add(1) }

// announcements yields the frame that announces address: an unsolicited
// advertisement to all nodes (RFC 4861, section 7.2.6).
func (c *ndpCodec) announcements(address netip.Addr, yield func(frame []byte) error) error {
	all := unsolicited(address.As16())
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: address,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: c.self[:]}},
	}, netip.AddrFrom16(c.source), netip.AddrFrom16(all.destination))
	if err != nil {
		return fmt.Errorf("announce %s: %w", address, err)
	}
	frame := make([]byte, icmpAt, icmpAt+len(body))
	putEthernet(frame, all.frameTo, c.self, etherTypeIPv6)
	putIPv6(frame, c.source, all.destination, uint16(len(body)))
	return yield(append(frame, body...))
}

// unsolicited is an advertisement to all nodes, ff02::1, which on Ethernet is
// 33:33:00:00:00:01 (RFC 2464, section 7); also the answer to one who has no
// address yet.
func unsolicited(target [16]byte) advertisement {
	return advertisement{
		frameTo:     mac{0x33, 0x33, 5: 0x01},
		destination: [16]byte{0xff, 0x02, 15: 0x01},
		flags:       naOverride,
		target:      target,
	}
}
