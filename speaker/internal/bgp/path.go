// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"unique"
)

// Community is a community of RFC 1997, the AS number in its upper half.
type Community uint32

// GracefulShutdown asks the receiver to prefer any other path (RFC 8326).
const GracefulShutdown Community = 0xFFFF0000

// LargeCommunity is a community of RFC 8092.
type LargeCommunity struct {
	GlobalAdministrator, LocalData1, LocalData2 uint32
}

// PathKey says what is advertised and to whom.
type PathKey struct {
	Peer PeerName
	// Prefix has no bits set beyond its length.
	Prefix netip.Prefix
}

// Path says how a prefix is advertised. The zero value is a good one: the next hop is
// this node.
type Path struct {
	// NextHop is invalid for this node, whose address is then chosen by session.
	NextHop netip.Addr
	// LocalPref is sent to iBGP peers only (RFC 4271, 5.1.5). Zero is the 100 that
	// routers assume.
	LocalPref uint32
	// Communities and LargeCommunities are sets: order and repetition mean nothing.
	Communities      []Community
	LargeCommunities []LargeCommunity
}

// defaultLocalPref is what routers take for an absent LOCAL_PREF.
const defaultLocalPref = 100

// route is a path as a peer is to have it, in a form that is compared with == and
// stored once for all prefixes that share it.
type route = unique.Handle[attributes]

// attributes is what a route is made of. Communities are packed, sorted and unique.
type attributes struct {
	// nextHop is what goes on the wire; self says that it is ours to choose.
	nextHop   netip.Addr
	self      bool
	localPref uint32
	// standard and large are the communities in the encoding of the wire.
	standard, large string
	// leaving adds GRACEFUL_SHUTDOWN.
	leaving bool
}

func newAttributes(p *Path) attributes {
	return attributes{
		nextHop:   p.NextHop,
		self:      !p.NextHop.IsValid(),
		localPref: cmp.Or(p.LocalPref, defaultLocalPref),
		standard:  packCommunities(p.Communities),
		large:     packLargeCommunities(p.LargeCommunities),
	}
}

func packCommunities(set []Community) string {
	if len(set) == 0 {
		return ""
	}
	set = slices.Clone(set)
	slices.Sort(set)
	set = slices.Compact(set)
	b := make([]byte, 0, 4*len(set))
	for _, c := range set {
		b = binary.BigEndian.AppendUint32(b, uint32(c))
	}
	return string(b)
}

func packLargeCommunities(set []LargeCommunity) string {
	if len(set) == 0 {
		return ""
	}
	set = slices.Clone(set)
	slices.SortFunc(set, func(a, b LargeCommunity) int {
		return cmp.Or(cmp.Compare(a.GlobalAdministrator, b.GlobalAdministrator),
			cmp.Compare(a.LocalData1, b.LocalData1), cmp.Compare(a.LocalData2, b.LocalData2))
	})
	set = slices.Compact(set)
	b := make([]byte, 0, 12*len(set))
	for _, c := range set {
		b = binary.BigEndian.AppendUint32(b, c.GlobalAdministrator)
		b = binary.BigEndian.AppendUint32(b, c.LocalData1)
		b = binary.BigEndian.AppendUint32(b, c.LocalData2)
	}
	return string(b)
}

// checkPath returns what is wrong with a path.
func checkPath(prefix netip.Prefix, p *Path) error {
	switch {
	case !prefix.IsValid() || prefix != prefix.Masked():
		return fmt.Errorf("advertise %s: not a prefix without host bits", prefix)
	case prefix.Addr().Is4In6():
		return fmt.Errorf("advertise %s: an IPv4 prefix is written as one", prefix)
	case p.NextHop.IsValid() && p.NextHop.Is4() && prefix.Addr().Is6():
		return fmt.Errorf("advertise %s: %s is no next hop for IPv6", prefix, p.NextHop)
	}
	return nil
}
