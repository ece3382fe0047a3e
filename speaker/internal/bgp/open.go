// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Codes of an OPEN (RFC 4271, 4.2; RFC 5492; RFC 9072), and of those capabilities that
// mean something here (RFC 4760, RFC 2918, RFC 8950, RFC 4724, RFC 6793).
const (
	version4 = 4
	asTrans  = 23456

	parameterCapabilities = 2
	parameterExtended     = 255

	capabilityMultiprotocol   = 1
	capabilityRefresh         = 2
	capabilityExtendedNextHop = 5
	capabilityRestart         = 64
	capabilityFourOctetASN    = 65
)

// openMessage is what an OPEN says, as far as it concerns us.
type openMessage struct {
	asn      uint32
	holdTime uint16 // seconds
	id       netip.Addr
	families Families
	// fourOctets says that the peer knows AS numbers of four octets.
	fourOctets bool
	refresh    bool
	// extended says that it takes IPv6 next hops for IPv4.
	extended bool
	// restart is the capability of RFC 4724: flags, time and the families that are ours.
	// Empty: the peer does not have it.
	restart []byte

	multiprotocol bool
}

// parseOpen reads the body of an OPEN, which is long enough.
func parseOpen(body []byte) (openMessage, *messageError) {
	o := openMessage{
		asn:      uint32(binary.BigEndian.Uint16(body[1:])),
		holdTime: binary.BigEndian.Uint16(body[3:]),
		id:       netip.AddrFrom4([4]byte(body[5:9])),
	}
	if body[0] != version4 {
		e := malformed(codeOpen, openVersion, "the peer speaks version %d", body[0])
		e.data = []byte{0, version4}
		return o, e
	}
	parameters, wide, ok := splitParameters(body[9:])
	if !ok {
		return o, malformed(codeOpen, 0, "the optional parameters of an OPEN are not as long as it says")
	}
	for len(parameters) > 0 {
		kind, value, rest, ok := nextParameter(parameters, wide)
		if !ok {
			return o, malformed(codeOpen, 0, "an optional parameter of an OPEN is cut short")
		}
		if kind != parameterCapabilities {
			return o, malformed(codeOpen, openParameter, "an OPEN has an optional parameter of type %d", kind)
		}
		if bad := o.capabilities(value); bad != nil {
			return o, bad
		}
		parameters = rest
	}
	if !o.multiprotocol {
		o.families = IPv4Unicast
	}
	return o, nil
}

// splitParameters returns the optional parameters, and whether their lengths are in two
// octets (RFC 9072).
func splitParameters(b []byte) (parameters []byte, wide, ok bool) {
	length, rest := int(b[0]), b[1:]
	if length != 0 && len(rest) >= 3 && rest[0] == parameterExtended {
		return rest[3:], true, int(binary.BigEndian.Uint16(rest[1:])) == len(rest)-3
	}
	return rest, false, length == len(rest)
}

func nextParameter(b []byte, wide bool) (kind byte, value, rest []byte, ok bool) {
	head := 2
	if wide {
		head = 3
	}
	if len(b) < head {
		return 0, nil, nil, false
	}
	length := int(b[head-1])
	if wide {
		length = int(binary.BigEndian.Uint16(b[1:]))
	}
	if len(b) < head+length {
		return 0, nil, nil, false
	}
	return b[0], b[head : head+length], b[head+length:], true
}

// capabilities reads those of one parameter. Unknown ones are ignored (RFC 5492, 3).
func (o *openMessage) capabilities(b []byte) *messageError {
	for len(b) > 0 {
		code, value, rest, ok := nextParameter(b, false)
		if !ok || !o.capability(code, value) {
			return malformed(codeOpen, 0, "capability %d of an OPEN has a wrong length", b[0])
		}
		b = rest
	}
	return nil
}

// capability says whether the value is as long as it must be.
func (o *openMessage) capability(code byte, value []byte) bool {
	switch code {
	case capabilityMultiprotocol:
		if len(value) != 4 {
			return false
		}
		o.multiprotocol = true
		o.families |= familyOnWire(binary.BigEndian.Uint16(value), value[3])
	case capabilityRefresh:
		o.refresh = true
	case capabilityExtendedNextHop:
		if len(value)%6 != 0 {
			return false
		}
		for tuple := range slices.Chunk(value, 6) {
			family := familyOnWire(binary.BigEndian.Uint16(tuple), tuple[3])
			o.extended = o.extended || family == IPv4Unicast && binary.BigEndian.Uint16(tuple[4:]) == afiIPv6
		}
	case capabilityRestart:
		if len(value) < 2 || (len(value)-2)%4 != 0 {
			return false
		}
		o.restart = slices.Clone(value[:2])
		for tuple := range slices.Chunk(value[2:], 4) {
			if familyOnWire(binary.BigEndian.Uint16(tuple), tuple[2]) != 0 {
				o.restart = append(o.restart, tuple...)
			}
		}
	case capabilityFourOctetASN:
		if len(value) != 4 {
			return false
		}
		o.fourOctets, o.asn = true, binary.BigEndian.Uint32(value)
	}
	return true
}

// check holds an OPEN against what was expected (RFC 4271, 6.2).
func (o *openMessage) check(p *Peer) *messageError {
	switch {
	case o.asn == 0 || p.Mode == ASNExact && o.asn != p.RemoteASN ||
		p.Mode == ASNInternal && o.asn != p.LocalASN || p.Mode == ASNExternal && o.asn == p.LocalASN:
		return malformed(codeOpen, openBadPeerAS, "the peer is in AS %d", o.asn)
	case o.id.IsUnspecified() || o.id == p.RouterID && o.asn == p.LocalASN: // RFC 6286
		return malformed(codeOpen, openBadIdentifier, "the peer has the BGP Identifier %s", o.id)
	case o.holdTime == 1 || o.holdTime == 2:
		return malformed(codeOpen, openHoldTime, "the peer wants a hold time of %d s", o.holdTime)
	case o.families&p.Families == 0:
		return malformed(codeOpen, openCapability, "the peer has no capability for %s", p.Families)
	}
	return nil
}

// encode returns the message, with nothing in it but what is known here.
func (o *openMessage) encode() message {
	var list []byte
	add := func(code byte, value ...byte) {
		list = append(append(list, code, byte(len(value))), value...)
	}
	for _, f := range []Families{IPv4Unicast, IPv6Unicast} {
		if o.families.Has(f) {
			add(capabilityMultiprotocol, 0, byte(afiOf(f)), 0, safiUnicast)
		}
	}
	if o.refresh {
		add(capabilityRefresh)
	}
	if o.extended {
		add(capabilityExtendedNextHop, 0, afiIPv4, 0, safiUnicast, 0, afiIPv6)
	}
	if len(o.restart) > 0 {
		add(capabilityRestart, o.restart[:min(len(o.restart), 2+4*2)]...)
	}
	short := uint16(min(o.asn, asTrans))
	if o.asn <= 0xffff {
		short = uint16(o.asn)
	}
	if o.fourOctets {
		add(capabilityFourOctetASN, binary.BigEndian.AppendUint32(nil, o.asn)...)
	}
	body := binary.BigEndian.AppendUint16([]byte{version4}, short)
	body = binary.BigEndian.AppendUint16(body, o.holdTime)
	body = append(body, o.id.AsSlice()...)
	body = append(body, byte(2+len(list)), parameterCapabilities, byte(len(list)))
	return newMessage(typeOpen, append(body, list...))
}

// Address families on the wire (RFC 4760).
const (
	afiIPv4     = 1
	afiIPv6     = 2
	safiUnicast = 1
)

// familyOnWire returns zero for a family that is not ours.
func familyOnWire(afi uint16, safi byte) Families {
	switch {
	case safi != safiUnicast:
		return 0
	case afi == afiIPv4:
		return IPv4Unicast
	case afi == afiIPv6:
		return IPv6Unicast
	}
	return 0
}

func afiOf(f Families) uint16 {
	if f == IPv4Unicast {
		return afiIPv4
	}
	return afiIPv6
}
