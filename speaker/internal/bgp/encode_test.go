// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// decode reads attributes as gobgp does when it is handed them.
func decode(t testing.TB, list [][]byte) map[gobgp.BGPAttrType]gobgp.PathAttributeInterface {
	t.Helper()
	attrs := make(map[gobgp.BGPAttrType]gobgp.PathAttributeInterface)
	for _, b := range list {
		a, err := gobgp.GetPathAttribute(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.DecodeFromBytes(b); err != nil {
			t.Fatalf("attribute % x: %v", b, err)
		}
		if _, again := attrs[a.GetType()]; again {
			t.Fatalf("attribute %s comes twice", a.GetType())
		}
		attrs[a.GetType()] = a
	}
	return attrs
}

// What is encoded here is what gobgp decodes: the two share no code.
func FuzzAttributes(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(0), uint32(0), true, false)
	f.Add(uint64(2), uint8(3), uint8(2), uint32(200), true, true)
	f.Add(uint64(3), uint8(64), uint8(22), uint32(100), false, true)
	f.Fuzz(func(t *testing.T, seed uint64, standard, large uint8, pref uint32, internal, leaving bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		p := Path{LocalPref: pref}
		for range standard {
			p.Communities = append(p.Communities, Community(random.Uint32()))
		}
		for range large {
			p.LargeCommunities = append(p.LargeCommunities, LargeCommunity{random.Uint32(), random.Uint32(), random.Uint32()})
		}
		a := newAttributes(&p)
		a.nextHop, a.leaving = netip.MustParseAddr("192.0.2.1"), leaving
		attrs := decode(t, encodeAttributes(&a, IPv4Unicast, internal))

		want := make(map[uint32]bool)
		for _, c := range p.Communities {
			want[uint32(c)] = true
		}
		if leaving {
			want[uint32(GracefulShutdown)] = true
		}
		var got []uint32
		if c, ok := attrs[gobgp.BGP_ATTR_TYPE_COMMUNITIES].(*gobgp.PathAttributeCommunities); ok {
			got = c.Value
		}
		if len(got) != len(want) || slices.ContainsFunc(got, func(c uint32) bool { return !want[c] }) {
			t.Errorf("communities are %d, want %v", got, want)
		}
		if c, ok := attrs[gobgp.BGP_ATTR_TYPE_LARGE_COMMUNITY].(*gobgp.PathAttributeLargeCommunities); ok != (large > 0) ||
			ok && len(c.Values) != int(large) {
			t.Errorf("large communities are %v, want %d of them", c, large)
		}
		l, sent := attrs[gobgp.BGP_ATTR_TYPE_LOCAL_PREF].(*gobgp.PathAttributeLocalPref)
		if wanted := internal && pref != 0 && pref != 100; sent != wanted || sent && l.Value != pref {
			t.Errorf("LOCAL_PREF is %v, want %d: %t", l, pref, wanted)
		}
	})
}

func TestNextHopsOnTheWire(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		hop    string
		family Families
		afi    uint16 // of MP_REACH_NLRI, zero for NEXT_HOP
	}{
		{"192.0.2.1", IPv4Unicast, 0},
		{"2001:db8::1", IPv4Unicast, gobgp.AFI_IP}, // RFC 8950
		{"fe80::1", IPv4Unicast, gobgp.AFI_IP},
		{"2001:db8::1", IPv6Unicast, gobgp.AFI_IP6},
		{"::", IPv6Unicast, gobgp.AFI_IP6},
	} {
		list := [][]byte{encodeNextHop(netip.MustParseAddr(test.hop), test.family)}
		var got string
		var afi uint16
		for _, a := range decode(t, list) {
			switch a := a.(type) {
			case *gobgp.PathAttributeNextHop:
				got = a.Value.String()
			case *gobgp.PathAttributeMpReachNLRI:
				got, afi = a.Nexthop.String(), a.AFI
			}
		}
		if got != test.hop || afi != test.afi {
			t.Errorf("next hop %s of %s comes out as %s of AFI %d, want AFI %d", test.hop, test.family, got, afi, test.afi)
		}
	}
}

func TestPrefixesOnTheWire(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"0.0.0.0/0", "10.0.0.0/8", "10.128.0.0/9", "198.51.100.0/24", "198.51.100.1/32",
		"::/0", "2001:db8::/32", "2001:db8:8000::/33", "2001:db8::1/128",
	} {
		p := netip.MustParsePrefix(s)
		f := wireFamily(familyOf(p.Addr()))
		nlri, err := gobgp.NewPrefixFromRouteFamily(uint16(f.Afi), uint8(f.Safi))
		if err != nil {
			t.Fatal(err)
		}
		if err := nlri.DecodeFromBytes(encodePrefix(p)); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if got := nlri.String(); got != s {
			t.Errorf("%s comes out as %s", s, got)
		}
	}
}
