// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"hash/maphash"
)

// Codes of path attributes that carry prefixes (RFC 4760).
const attrMPUnreach = 15

// refusedAtMost bounds what is remembered of the prefixes that a peer advertises to us:
// twice the Internet's. Beyond it they are no longer counted.
const refusedAtMost = 2 << 20

// refusals count the prefixes that a peer advertises at the moment, by their hashes: the
// prefixes themselves are of no use here.
type refusals struct {
	seed maphash.Seed
	seen map[uint64]struct{}
	// remark is what was wrong with path attributes, and had no consequence.
	remark string
}

func newRefusals() *refusals {
	return &refusals{seed: maphash.MakeSeed(), seen: make(map[uint64]struct{})}
}

// inspect reads the body of an UPDATE as far as our trust in the peer's framing depends
// on it: every length and every prefix. Path attributes are those of routes that are
// refused whatever they are, so that what is in them does not matter (RFC 7606, 2, would
// have them treated as withdrawn). It returns the families for which it is the
// End-of-RIB marker (RFC 4724, 2).
func (r *refusals) inspect(body []byte, ours Families) (ended Families, bad *messageError) {
	withdrawn, rest, ok := takeField(body)
	if !ok {
		return 0, malformed(codeUpdate, updateAttributeList, "the withdrawn routes of an UPDATE are longer than it")
	}
	attributes, announced, ok := takeField(rest)
	if !ok {
		return 0, malformed(codeUpdate, updateAttributeList, "the path attributes of an UPDATE are longer than it")
	}
	if len(body) == 4 {
		return IPv4Unicast & ours, nil
	}
	if bad := r.take(withdrawn, IPv4Unicast, codeOfNLRI, false); bad != nil {
		return 0, bad
	}
	if ended, bad = r.attributes(attributes, ours); bad != nil {
		return 0, bad
	}
	if bad := r.take(announced, IPv4Unicast, codeOfNLRI, true); bad != nil {
		return 0, bad
	}
	if len(withdrawn)+len(announced) > 0 {
		ended = 0
	}
	return ended, nil
}

// takeField takes a field that has its length in two octets before it.
func takeField(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	length := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+length {
		return nil, nil, false
	}
	return b[2 : 2+length], b[2+length:], true
}

// attributes walks the path attributes, and reads those with prefixes.
func (r *refusals) attributes(b []byte, ours Families) (ended Families, bad *messageError) {
	alone := true
	for first := true; len(b) > 0; first = false {
		code, value, rest, ok := nextAttribute(b)
		if !ok { // RFC 7606, 4: no reset, as the end of them all is known
			r.remark = "a path attribute is longer than all of the UPDATE's together"
			return 0, nil
		}
		switch code {
		case attrMPReach:
			bad = r.reach(value, ours)
		case attrMPUnreach:
			ended, bad = r.unreach(value, ours)
		}
		if bad != nil {
			return 0, bad
		}
		alone = first
		b = rest
	}
	if !alone {
		ended = 0
	}
	return ended, nil
}

func nextAttribute(b []byte) (code byte, value, rest []byte, ok bool) {
	head := 3
	if len(b) > 0 && b[0]&flagExtended != 0 {
		head = 4
	}
	if len(b) < head {
		return 0, nil, nil, false
	}
	length := int(b[2])
	if head == 4 {
		length = int(binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < head+length {
		return 0, nil, nil, false
	}
	return b[1], b[head : head+length], b[head+length:], true
}

// reach reads MP_REACH_NLRI: family, next hop, a reserved octet, prefixes.
func (r *refusals) reach(value []byte, ours Families) *messageError {
	if len(value) < 3 {
		return malformed(codeUpdate, updateOptional, "an MP_REACH_NLRI is cut short")
	}
	family := familyOnWire(binary.BigEndian.Uint16(value), value[2])
	if family&ours == 0 {
		return nil // RFC 4760, 7: it is ignored, whatever it looks like
	}
	if len(value) < 5 || len(value) < 5+int(value[3]) {
		return malformed(codeUpdate, updateOptional, "an MP_REACH_NLRI is cut short")
	}
	return r.take(value[5+int(value[3]):], family, updateOptional, true)
}

// unreach reads MP_UNREACH_NLRI: family, prefixes.
func (r *refusals) unreach(value []byte, ours Families) (ended Families, bad *messageError) {
	if len(value) < 3 {
		return 0, malformed(codeUpdate, updateOptional, "an MP_UNREACH_NLRI is cut short")
	}
	family := familyOnWire(binary.BigEndian.Uint16(value), value[2])
	switch {
	case family&ours == 0:
		return 0, nil
	case len(value) == 3:
		return family, nil
	}
	return 0, r.take(value[3:], family, updateOptional, false)
}

// codeOfNLRI is the subcode for a bad prefix of IPv4's own fields.
const codeOfNLRI = updateNetworkField

// take reads prefixes, and counts them.
func (r *refusals) take(b []byte, family Families, subcode byte, announced bool) *messageError {
	longest := byte(32)
	if family == IPv6Unicast {
		longest = 128
	}
	for len(b) > 0 {
		octets := (int(b[0]) + 7) / 8
		if b[0] > longest {
			return malformed(codeUpdate, subcode, "an UPDATE has a prefix of %d bits in %s", b[0], family)
		}
		if len(b) < 1+octets {
			return malformed(codeUpdate, subcode, "an UPDATE has a prefix that is cut short")
		}
		r.count(b[:1+octets], family, announced)
		b = b[1+octets:]
	}
	return nil
}

func (r *refusals) count(prefix []byte, family Families, announced bool) {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_ = h.WriteByte(byte(family)) // never fails, and nor does Write
	_, _ = h.Write(prefix)
	switch {
	case !announced:
		delete(r.seen, h.Sum64())
	case len(r.seen) < refusedAtMost:
		r.seen[h.Sum64()] = struct{}{}
	}
}

// endOfRIB returns the marker for a family (RFC 4724, 2).
func endOfRIB(f Families) message {
	if f == IPv4Unicast {
		return newMessage(typeUpdate, make([]byte, 4))
	}
	unreach := attribute(flagOptional, attrMPUnreach, []byte{0, afiIPv6, safiUnicast})
	return newMessage(typeUpdate, append([]byte{0, 0, 0, byte(len(unreach))}, unreach...))
}
