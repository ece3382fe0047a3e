// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
)

func TestClaimsOnTheWire(t *testing.T) {
	const ours = "192.0.2.100"
	self, squatter := mac{2, 0, 0, 0, 0, 1}, mac{2, 0, 0, 0, 0, 9}
	arpOf := func(op arp.Operation, sender mac, from, target string) []byte {
		return arpFrame(t, broadcast(), op, sender, from, target)
	}
	tests := []struct {
		name  string
		frame []byte
		want  mac // zero: no claim
	}{
		{"announcement as a request", arpOf(arp.OperationRequest, squatter, ours, ours), squatter},
		{"announcement as a reply", arpOf(arp.OperationReply, squatter, ours, ours), squatter},
		{"reply to us", arpFrame(t, self, arp.OperationReply, squatter, ours, "192.0.2.1"), squatter},
		{"request from our address", arpOf(arp.OperationRequest, squatter, ours, "192.0.2.1"), squatter},
		{"probe for our address", arpOf(arp.OperationRequest, squatter, "0.0.0.0", ours), mac{}},
		{"request for our address", arpOf(arp.OperationRequest, squatter, "192.0.2.9", ours), mac{}},
		{"announcement of another address", arpOf(arp.OperationRequest, squatter, "192.0.2.9", "192.0.2.9"), mac{}},
		{"reply to another station", arpFrame(t, mac{2, 7}, arp.OperationReply, squatter, ours, "192.0.2.1"), mac{}},
		{"our own announcement, come back", arpOf(arp.OperationReply, self, ours, ours), mac{}},
		{"sender is a group", arpOf(arp.OperationReply, mac{1, 2}, ours, ours), mac{}},

		{"advertisement to all", advertisementFrame(t, advertisementOptions{}), squatter},
		{"advertisement to us", advertisementFrame(t, advertisementOptions{to: self, destination: "fe80::1", solicited: true}), squatter},
		{"advertisement for a third station", advertisementFrame(t, advertisementOptions{at: mac{2, 8}}), mac{2, 8}},
		{"advertisement without an option", advertisementFrame(t, advertisementOptions{noOption: true}), squatter},
		{"our own advertisement, come back", advertisementFrame(t, advertisementOptions{at: self}), mac{}},
		{"solicited advertisement to all", advertisementFrame(t, advertisementOptions{solicited: true}), mac{}},
		{"advertisement to another station", advertisementFrame(t, advertisementOptions{to: mac{2, 7}, destination: "fe80::7"}), mac{}},
		{"advertisement of a group", fixChecksum(with(advertisementFrame(t, advertisementOptions{}), targetAt, 0xff)), mac{}},
		{"advertisement with a wrong checksum", with(advertisementFrame(t, advertisementOptions{}), icmpChecksumAt, 1), mac{}},
		{"advertisement with hop limit 254", with(advertisementFrame(t, advertisementOptions{}), ipv6HopLimitAt, 254), mac{}},
		{"advertisement cut", advertisementFrame(t, advertisementOptions{})[:optionsAt+3], mac{}},
		{"solicitation", solicitationFrame(t, solicitOptions{}), mac{}},
	}
	for _, tt := range tests {
		var got mac
		heard := func(_ netip.Addr, by mac) { got = by }
		a, n := testARPCodec(ours), testNDPCodec(testTarget)
		a.heard, n.heard = heard, heard
		for _, codec := range []Answerer{a, n} { // each gets frames of the other, too
			codec.Answer(tt.frame)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: claimed by (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestClaimsAreToldNowAndThen(t *testing.T) {
	var c claims
	now := time.Unix(0, 0)
	claim := func(n int) Claim {
		return Claim{Address: netip.AddrFrom4([4]byte{192, 0, 2, 1}), MAC: mac{2, 0, 0, 0, byte(n >> 8), byte(n)}}
	}
	want := func(what string, n int, want bool) {
		t.Helper()
		if got := c.fresh(claim(n), now); got != want {
			t.Errorf("%s: told = %v, want %v", what, got, want)
		}
	}
	want("a claim", 0, true)
	want("again at once", 0, false)
	want("of another station", 1, true)
	now = now.Add(claimPause)
	want("a second later", 0, true)
	for i := range claimsKept {
		c.fresh(claim(i), now)
	}
	want("amid a flood of forgeries", claimsKept, false)
	now = now.Add(claimPause)
	want("after the flood", claimsKept, true)
	if n := len(c.told); n > claimsKept {
		t.Errorf("%d claims are remembered, want at most %d", n, claimsKept)
	}
}
