// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

var equateFacts = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

func claim(address string, epoch uint32) facts.Claim {
	return facts.Claim{Address: netip.MustParseAddr(address), Epoch: epoch}
}

// Speakers of different releases read each other's statements: these never change.
func TestStatementsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name      string
		statement facts.Statement
		wire      string
	}{
		{"bare", facts.Statement{Node: "a", Boot: 1, Seq: 2}, "02 00 01 61 01 02 00 00 00"},
		{
			"subnets",
			facts.Statement{Node: "a", Boot: 300, Seq: 2, About: true, Subnets: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"),
			}},
			"02 02 01 61 ac02 02 00 02 18 00c0000200 40 80 20010db8000000000000000000000000 00",
		},
		{
			"claims",
			facts.Statement{Node: "ab", Boot: 1, Seq: 2, Term: 300, Whole: true, Claims: []facts.Claim{
				claim("192.0.2.1", 1), claim("192.0.2.2", 200),
				{Address: netip.MustParseAddr("192.0.3.2"), Released: true},
				claim("2001:db8::1", 0),
			}},
			"02 01 02 6162 01 02 ac02 00 04 00c0000201 01 0302 c801 42 0302 00 80 20010db8000000000000000000000001 00",
		},
		{
			"held",
			facts.Statement{Node: "a", Boot: 1, Seq: 2, Claims: []facts.Claim{
				{Address: netip.MustParseAddr("192.0.2.1"), Epoch: 1, Home: "c"},
				claim("192.0.2.2", 1),
				{Address: netip.MustParseAddr("192.0.2.3"), Epoch: 1, Home: "b"},
			}},
			"03 00 01 61 01 02 00 00 02 0162 0163 03 20c0000201 01 01 0302 01 2303 01 00",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.ReplaceAll(tt.wire, " ", "")
			b := appendStatement(nil, tt.statement)
			if got := hex.EncodeToString(b); got != want {
				t.Errorf("written as %s, want %s", got, want)
			}
			read, err := parseStatement(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.statement, read, equateFacts); diff != "" {
				t.Errorf("read (-written +read):\n%s", diff)
			}
			for n := range b {
				if _, err := parseStatement(b[:n]); err == nil {
					t.Errorf("the first %d bytes of %d are taken for the whole", n, len(b))
				}
			}
		})
	}
}

// Full exchanges hold many statements, of which one that is not understood costs itself
// only.
func TestStatementsOfOtherReleases(t *testing.T) {
	b := appendStatements(nil, []facts.Statement{{Node: "a", Boot: 1}})
	b = append(b, 2, 99, 0) // a version that is not known
	b = append(b, appendStatements(nil, []facts.Statement{{Node: "c", Boot: 3}})...)
	statements, err := parseStatements(b)
	if err == nil {
		t.Error("a version that is not known is no error")
	}
	if diff := cmp.Diff([]facts.Statement{{Node: "a", Boot: 1}, {Node: "c", Boot: 3}}, statements, equateFacts); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

// A statement about changes fits into a datagram, with room for memberlist's headers.
func TestChangesFitIntoADatagram(t *testing.T) {
	b := facts.NewBoard("a-node-with-a-name-that-is-as-long-as-a-label-may-be-63-characters", 1<<62)
	var taken []netip.Addr
	for i := range 200 {
		taken = append(taken, netip.AddrFrom16([16]byte{byte(37 * i), 1, 2, byte(i), 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, byte(i)}))
	}
	said, _ := b.Claim(facts.Taking{Addresses: taken, Weight: facts.Full}, nil)
	for i, home := range []lb.NodeName{"b", "c", "d"} {
		said = append(said, b.Rehome(taken[i*66:(i+1)*66], home+lb.NodeName(strings.Repeat("-name-as-long-as-may-be", 3)))...)
	}
	for _, s := range said {
		if n := len(appendStatement(nil, s)); n > 1200 {
			t.Errorf("%d claims take %d bytes", len(s.Claims), n)
		}
	}
}

// What can be read is written the same way again, or shorter, and nothing that comes
// from the network makes the reader panic.
func FuzzParseStatement(f *testing.F) {
	for _, seed := range []string{
		"020001610102000000", "02020161ac020200021800c000020040802001" + "0db800000000000000000000000000",
		"030001610102000002016201630320c00002010101030201230301" + "00",
		"02010261620102050004" + "00c00002010103" + "02c80142030200" + "8020010db800000000000000000000000100",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStatement(b)
		if err != nil {
			return
		}
		again, err := parseStatement(appendStatement(nil, s))
		if err != nil {
			t.Fatalf("what was read cannot be read when written: %v", err)
		}
		if diff := cmp.Diff(s, again, equateFacts); diff != "" {
			t.Errorf("read, written and read (-first +second):\n%s", diff)
		}
	})
}
