// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

// The other implementation, an oracle for messages in both directions, is
// mdlayher/ndp; Ethernet and IPv6 headers are put in front by hand.

const (
	testTarget = "2001:db8::100"
	testGroup  = "ff02::1:ff00:100"
)

func testNDPCodec(addresses ...string) *ndpCodec {
	return &ndpCodec{
		table: tableOf(addresses...), name: "eth0",
		self: mac{2, 0, 0, 0, 0, 1}, source: netip.MustParseAddr("fe80::1").As16(), heard: func(netip.Addr, mac) {},
	}
}

// solicitOptions vary a solicitation for testTarget; zero values are a multicast
// solicitation with a source link-layer address.
type solicitOptions struct {
	to          mac
	source      string // "" is fe80::9
	destination string // "" is the solicited-node group
	target      string // "" is testTarget
	noOption    bool
	extra       []ndp.Option
}

func solicitationFrame(t testing.TB, o solicitOptions) []byte {
	t.Helper()
	or := func(s, otherwise string) netip.Addr {
		if s == "" {
			s = otherwise
		}
		return netip.MustParseAddr(s)
	}
	sender := mac{2, 0, 0, 0, 0, 9}
	src, dst := or(o.source, "fe80::9"), or(o.destination, testGroup)
	options := o.extra
	if !o.noOption {
		options = append(options, &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: sender[:]})
	}
	m := &ndp.NeighborSolicitation{TargetAddress: or(o.target, testTarget), Options: options}
	payload, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	to := o.to
	if to == (mac{}) {
		to = mac{0x33, 0x33, 0xff, 0, 1, 0}
	}
	frame := append(slices.Concat(to[:], sender[:]), 0x86, 0xdd, 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	frame = append(frame, 58, 255)
	return slices.Concat(frame, src.AsSlice(), dst.AsSlice(), payload)
}

// advertisementOptions vary an advertisement of testTarget; zero values are one to all
// nodes, with a target link-layer address.
type advertisementOptions struct {
	to          mac
	destination string // "" is all nodes
	solicited   bool
	at          mac // zero is that of the sender, 02:00:00:00:00:09
	noOption    bool
}

func advertisementFrame(t testing.TB, o advertisementOptions) []byte {
	t.Helper()
	sender := mac{2, 0, 0, 0, 0, 9}
	if o.at == (mac{}) {
		o.at = sender
	}
	if o.to == (mac{}) {
		o.to = mac{0x33, 0x33, 5: 1}
	}
	if o.destination == "" {
		o.destination = "ff02::1"
	}
	src, dst := netip.MustParseAddr("fe80::9"), netip.MustParseAddr(o.destination)
	m := &ndp.NeighborAdvertisement{Solicited: o.solicited, Override: true, TargetAddress: netip.MustParseAddr(testTarget)}
	if !o.noOption {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: o.at[:]}}
	}
	payload, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	frame := append(slices.Concat(o.to[:], sender[:]), 0x86, 0xdd, 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	frame = append(frame, 58, 255)
	return slices.Concat(frame, src.AsSlice(), dst.AsSlice(), payload)
}

// fixChecksum makes the checksum of a frame right again.
func fixChecksum(frame []byte) []byte {
	binary.BigEndian.PutUint16(frame[icmpChecksumAt:], 0)
	end := icmpAt + int(binary.BigEndian.Uint16(frame[ipv6PayloadLenAt:]))
	binary.BigEndian.PutUint16(frame[icmpChecksumAt:], checksum(frame[:min(end, len(frame))]))
	return frame
}

func TestNDPAnswer(t *testing.T) {
	self := mac{2, 0, 0, 0, 0, 1}
	solicited := &ndp.NeighborAdvertisement{Solicited: true, Override: true}
	toAll := &ndp.NeighborAdvertisement{Override: true}
	plain := solicitationFrame(t, solicitOptions{})
	nonce := []ndp.Option{&ndp.RawOption{Type: 14, Length: 1, Value: make([]byte, 6)}}
	with := func(change func(b []byte)) []byte {
		b := slices.Clone(plain)
		change(b)
		return fixChecksum(b)
	}
	tests := []struct {
		name  string
		frame []byte
		want  *ndp.NeighborAdvertisement // nil: no answer
	}{
		{"multicast", plain, solicited},
		{"unicast probe", solicitationFrame(t, solicitOptions{to: self, destination: testTarget}), solicited},
		{"unicast without a source option", solicitationFrame(t, solicitOptions{to: self, destination: testTarget, noOption: true}), solicited},
		{"multicast without a source option", solicitationFrame(t, solicitOptions{noOption: true}), solicited},
		{"from a global address", solicitationFrame(t, solicitOptions{source: "2001:db8::9"}), solicited},
		{"padded", append(slices.Clone(plain), 0, 0, 0), solicited},
		{"an option of another type", solicitationFrame(t, solicitOptions{extra: nonce}), solicited},
		{"duplicate address detection", solicitationFrame(t, solicitOptions{source: "::", noOption: true}), toAll},
		{"duplicate address detection with a nonce (RFC 7527)", solicitationFrame(t, solicitOptions{source: "::", noOption: true, extra: nonce}), toAll},

		{"detection that names a sender", solicitationFrame(t, solicitOptions{source: "::"}), nil},
		{"detection sent by unicast", solicitationFrame(t, solicitOptions{source: "::", noOption: true, destination: testTarget}), nil},
		{"another target", solicitationFrame(t, solicitOptions{target: "2001:db8::1:100"}), nil},
		{"sent to another group", solicitationFrame(t, solicitOptions{destination: "ff02::1"}), nil},
		{"sent to another station", solicitationFrame(t, solicitOptions{to: mac{2, 0, 0, 0, 0, 7}}), nil},
		{"from a group", solicitationFrame(t, solicitOptions{source: "ff02::9"}), nil},
		{"hop limit 254", with(func(b []byte) { b[ipv6HopLimitAt] = 254 }), nil},
		{"extension header", with(func(b []byte) { b[ipv6NextHeaderAt] = 0 }), nil},
		{"IP version 4", with(func(b []byte) { b[ipv6At] = 0x45 }), nil},
		{"ethertype IPv4", with(func(b []byte) { copy(b[etherTypeAt:], "\x08\x00") }), nil},
		{"code 1", with(func(b []byte) { b[icmpCodeAt] = 1 }), nil},
		{"router solicitation", with(func(b []byte) { b[icmpAt] = 133 }), nil},
		{"option of length 0", with(func(b []byte) { b[optionsAt+1] = 0 }), nil},
		{"option longer than the packet", with(func(b []byte) { b[optionsAt+1] = 2 }), nil},
		{"half an option", with(func(b []byte) { b[ipv6PayloadLenAt+1] = 28 }), nil},
		{"payload length beyond the frame", with(func(b []byte) { b[ipv6PayloadLenAt+1] = 40 }), nil},
		{"payload length too short", with(func(b []byte) { b[ipv6PayloadLenAt+1] = 16 }), nil},
		{"sender is a group", with(func(b []byte) { b[optionsAt+2] = 0x33 }), nil},
		{"checksum wrong", append(plain[:len(plain)-1:len(plain)-1], plain[len(plain)-1]^1), nil},
		{"checksum 0", slices.Concat(plain[:icmpChecksumAt], []byte{0, 0}, plain[icmpChecksumAt+2:]), nil},
		{"empty", nil, nil},
		{"one byte short", plain[:optionsAt-1], nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testNDPCodec(testTarget)
			reply := c.Answer(tt.frame)
			if (reply != nil) != (tt.want != nil) {
				t.Fatalf("answer = %x, want %+v", reply, tt.want)
			}
			if tt.want != nil {
				checkAdvertisement(t, tt.frame, reply, c, *tt.want)
			}
		})
	}
}

// checkAdvertisement parses a reply by the oracle; want has the flags.
func checkAdvertisement(t *testing.T, frame, reply []byte, c *ndpCodec, want ndp.NeighborAdvertisement) {
	t.Helper()
	asker, from := netip.AddrFrom16([16]byte(frame[ipv6SourceAt:])), mac(frame[6:])
	if asker.IsUnspecified() {
		asker, from = netip.MustParseAddr("ff02::1"), mac{0x33, 0x33, 0, 0, 0, 1}
	}
	want.TargetAddress = netip.AddrFrom16([16]byte(frame[targetAt:]))
	want.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: c.self[:]}}
	message, err := ndp.ParseMessage(reply[icmpAt:])
	if err != nil {
		t.Fatalf("the oracle refuses the reply: %v", err)
	}
	if diff := cmp.Diff(&want, message, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("advertisement (-want +got):\n%s", diff)
	}
	// The oracle computes checksums of its own.
	again, err := ndp.MarshalMessageChecksum(message, netip.AddrFrom16(c.source), asker)
	if err != nil {
		t.Fatal(err)
	}
	header := slices.Concat(from[:], c.self[:], []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255}, c.source[:], asker.AsSlice())
	if diff := cmp.Diff(slices.Concat(header, again), reply); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
}

func TestNDPAnnouncement(t *testing.T) {
	c := testNDPCodec()
	var frames int
	err := c.announcements(netip.MustParseAddr(testTarget), func(frame []byte) error {
		frames++
		// It is the answer to one who asks without an address.
		probe := solicitationFrame(t, solicitOptions{source: "::", noOption: true})
		checkAdvertisement(t, probe, frame, c, ndp.NeighborAdvertisement{Override: true})
		return nil
	})
	if err != nil || frames != 1 {
		t.Errorf("%d frames, error %v, want 1", frames, err)
	}
}

func TestSolicitedNode(t *testing.T) {
	for _, a := range []string{"2001:db8::1", "fe80::dead:beef", "2001:db8:1:2:3:4:5:6"} {
		want, err := ndp.SolicitedNodeMulticast(netip.MustParseAddr(a))
		if err != nil {
			t.Fatal(err)
		}
		if got := netip.AddrFrom16(solicitedNode(netip.MustParseAddr(a).As16())); got != want {
			t.Errorf("solicited-node group of %s = %s, want %s", a, got, want)
		}
	}
}

// FuzzNeighborSolicitation: whatever comes in, an answer is given only to what
// the oracle too takes for a solicitation for our address, and is well-formed.
func FuzzNeighborSolicitation(f *testing.F) {
	f.Add(solicitationFrame(f, solicitOptions{}), true)
	f.Add(solicitationFrame(f, solicitOptions{noOption: true, destination: testTarget}), false)
	f.Add(solicitationFrame(f, solicitOptions{source: "::", noOption: true}), true)
	f.Fuzz(func(t *testing.T, frame []byte, fix bool) {
		if fix && len(frame) >= optionsAt {
			frame = fixChecksum(slices.Clone(frame)) // lets mutations get past it
		}
		c := testNDPCodec(testTarget)
		reply := c.Answer(frame)
		if reply == nil {
			return
		}
		if !passes(t, NDP, frame) {
			t.Errorf("the filter would have dropped %x", frame)
		}
		// Without options: of most types it is no matter what they contain
		// (RFC 4861, section 7.1.1), but the oracle minds.
		message, err := ndp.ParseMessage(frame[icmpAt:optionsAt])
		if err != nil {
			t.Fatalf("answered %x, which the oracle refuses: %v", frame, err)
		}
		ns, ok := message.(*ndp.NeighborSolicitation)
		if !ok || ns.TargetAddress != netip.MustParseAddr(testTarget) || frame[ipv6HopLimitAt] != 255 {
			t.Fatalf("answered %x", frame)
		}
		if to := net.HardwareAddr(reply[:6]); to[0]&1 != 0 && [6]byte(to) != [6]byte{0x33, 0x33, 0, 0, 0, 1} {
			t.Fatalf("answer goes to %s", to)
		}
		if checksum(reply) != 0 {
			t.Fatalf("checksum of %x is wrong", reply)
		}
	})
}
