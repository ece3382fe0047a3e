// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"

	api "github.com/osrg/gobgp/v3/api"
)

// Path attributes are handed to gobgp in the encoding of the wire, which it takes over
// faster than its protobuf messages, and which is made once for all prefixes that
// share it.

// Type codes and flags of path attributes (RFC 4271, 4.3; RFC 1997; RFC 4760; RFC 8092).
const (
	attrOrigin         = 1
	attrNextHop        = 3
	attrLocalPref      = 5
	attrCommunities    = 8
	attrMPReach        = 14
	attrLargeCommunity = 32

	flagTransitive = 0x40
	flagOptional   = 0x80
	flagExtended   = 0x10

	originIGP = 0
)

// wireFamily is a family as gobgp and the wire number it (RFC 4760).
func wireFamily(f Families) *api.Family {
	if f == IPv4Unicast {
		return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	}
	return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
}

// encodePrefix returns the NLRI (RFC 4271, 4.3): the length, and as many bytes as it
// needs.
func encodePrefix(p netip.Prefix) []byte {
	return append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// encodeAttributes returns the path attributes of routes of one family. AS_PATH is
// gobgp's to add, and so is the LOCAL_PREF of 100 towards an internal peer. An external
// one gets none (RFC 4271, 5.1.5): gobgp would remove it, route by route.
func encodeAttributes(a *attributes, family Families, internal bool) [][]byte {
	standard := []byte(a.standard)
	if a.leaving {
		standard = binary.BigEndian.AppendUint32(standard, uint32(GracefulShutdown))
	}
	list := [][]byte{
		attribute(flagTransitive, attrOrigin, []byte{originIGP}),
	}
	if internal && a.localPref != defaultLocalPref {
		list = append(list, attribute(flagTransitive, attrLocalPref, binary.BigEndian.AppendUint32(nil, a.localPref)))
	}
	if len(standard) > 0 {
		list = append(list, attribute(flagOptional|flagTransitive, attrCommunities, standard))
	}
	if a.large != "" {
		list = append(list, attribute(flagOptional|flagTransitive, attrLargeCommunity, []byte(a.large)))
	}
	return append(list, encodeNextHop(a.nextHop, family))
}

// encodeNextHop returns the attribute that has the next hop. An IPv6 next hop of an
// IPv4 route is that of RFC 8950. The prefix in MP_REACH_NLRI stands for those that
// gobgp puts there itself; it wants one.
func encodeNextHop(hop netip.Addr, family Families) []byte {
	if family == IPv4Unicast && hop.Is4() {
		return attribute(flagTransitive, attrNextHop, hop.AsSlice())
	}
	f := wireFamily(family)
	value := binary.BigEndian.AppendUint16(nil, uint16(f.Afi))
	value = append(value, byte(f.Safi), byte(hop.BitLen()/8))
	value = append(value, hop.AsSlice()...)
	value = append(value, 0, 0) // reserved, and the prefix of length zero
	return attribute(flagOptional, attrMPReach, value)
}

func attribute(flags, code byte, value []byte) []byte {
	if len(value) > 255 {
		head := []byte{flags | flagExtended, code, byte(len(value) >> 8), byte(len(value))}
		return slices.Concat(head, value)
	}
	return slices.Concat([]byte{flags, code, byte(len(value))}, value)
}
