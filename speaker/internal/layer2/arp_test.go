// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
)

// The other implementation, an oracle for frames in both directions, is
// mdlayher/arp; Ethernet headers are put in front by hand.

func testARPCodec(addresses ...string) *arpCodec {
	return &arpCodec{table: tableOf(addresses...), name: "eth0", self: mac{2, 0, 0, 0, 0, 1}, heard: func(netip.Addr, mac) {}}
}

// tableOf returns a table with the addresses, announced on all interfaces.
func tableOf(addresses ...string) *table {
	t := new(table)
	for _, a := range addresses {
		t.put(&entry{Announcement: Announcement{Address: netip.MustParseAddr(a)}, counters: new(counters)})
	}
	return t
}

// arpFrame builds a frame by the oracle.
func arpFrame(t testing.TB, to mac, op arp.Operation, sender mac, senderAddr, targetAddr string) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, sender[:], netip.MustParseAddr(senderAddr), make(net.HardwareAddr, 6), netip.MustParseAddr(targetAddr))
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(slices.Concat(to[:], sender[:]), etherTypeARP), b...)
}

func TestARPAnswer(t *testing.T) {
	client := mac{2, 0, 0, 0, 0, 9}
	router := mac{2, 0, 0, 0, 0, 8}
	self := mac{2, 0, 0, 0, 0, 1}
	ask := arpFrame(t, broadcast(), arp.OperationRequest, client, "192.0.2.9", "192.0.2.100")
	with := func(change func(b []byte)) []byte {
		b := slices.Clone(ask)
		change(b)
		return b
	}
	tests := []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"broadcast", ask, true},
		{"unicast to us", arpFrame(t, self, arp.OperationRequest, client, "192.0.2.9", "192.0.2.100"), true},
		{"padded to 60 bytes", append(slices.Clone(ask), make([]byte, 18)...), true},
		{"RFC 5227 probe", arpFrame(t, broadcast(), arp.OperationRequest, client, "0.0.0.0", "192.0.2.100"), true},
		{"unicast to another station", arpFrame(t, router, arp.OperationRequest, client, "192.0.2.9", "192.0.2.100"), false},
		{"another address", arpFrame(t, broadcast(), arp.OperationRequest, client, "192.0.2.9", "192.0.2.101"), false},
		{"a reply", arpFrame(t, broadcast(), arp.OperationReply, client, "192.0.2.9", "192.0.2.100"), false},
		{"an announcement of our address by another", arpFrame(t, broadcast(), arp.OperationRequest, client, "192.0.2.100", "192.0.2.100"), false},
		{"empty", nil, false},
		{"Ethernet header cut", ask[:13], false},
		{"one byte short", ask[:41], false},
		{"hardware address of 5 bytes", with(func(b []byte) { b[arpHardwareLen] = 5 }), false},
		{"protocol address of 5 bytes", with(func(b []byte) { b[arpProtocolLen] = 5 }), false},
		{"protocol address of 16 bytes", with(func(b []byte) { b[arpProtocolLen] = 16 }), false},
		{"hardware type of IEEE 802", with(func(b []byte) { b[arpHardwareAt+1] = 6 }), false},
		{"protocol IPv6", with(func(b []byte) { copy(b[arpProtocolAt:], "\x86\xdd") }), false},
		{"operation 0", with(func(b []byte) { b[arpOperationAt+1] = 0 }), false},
		{"ethertype IPv4", with(func(b []byte) { copy(b[etherTypeAt:], "\x08\x00") }), false},
		{"VLAN tag", with(func(b []byte) { copy(b[etherTypeAt:], "\x81\x00") }), false},
		{"sender is a group", with(func(b []byte) { b[arpSenderAt] = 0xff }), false},
		{"sender is zero", with(func(b []byte) { clear(b[arpSenderAt : arpSenderAt+6]) }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testARPCodec("192.0.2.100")
			reply := c.Answer(tt.frame)
			if (reply != nil) != tt.want {
				t.Fatalf("answer = %x, want one: %v", reply, tt.want)
			}
			requests := c.table.get(netip.MustParseAddr("192.0.2.100")).counters.requests.Load()
			if got := requests == 1; got != tt.want {
				t.Errorf("requests counted: %d", requests)
			}
			if tt.want {
				checkARPReply(t, tt.frame, reply, c.self)
			}
		})
	}
}

// checkARPReply compares a reply with what the oracle makes of the request.
func checkARPReply(t *testing.T, frame, reply []byte, self mac) {
	t.Helper()
	var q, got arp.Packet
	if err := q.UnmarshalBinary(frame[ethernetLen:]); err != nil {
		t.Fatalf("the oracle refuses the request: %v", err)
	}
	if err := got.UnmarshalBinary(reply[ethernetLen:]); err != nil {
		t.Fatalf("the oracle refuses the reply: %v", err)
	}
	want, err := arp.NewPacket(arp.OperationReply, self[:], q.TargetIP, q.SenderHardwareAddr, q.SenderIP)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	header := slices.Concat(q.SenderHardwareAddr, self[:], []byte{0x08, 0x06})
	if diff := cmp.Diff(header, net.HardwareAddr(reply[:ethernetLen])); diff != "" {
		t.Errorf("Ethernet header (-want +got):\n%s", diff)
	}
}

func TestARPAnswerOnlyWhereAnnounced(t *testing.T) {
	c := testARPCodec()
	c.table.put(&entry{
		Announcement: Announcement{Address: netip.MustParseAddr("192.0.2.100"), Interfaces: []string{"eth1"}},
		counters:     new(counters),
	})
	ask := arpFrame(t, broadcast(), arp.OperationRequest, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
	if reply := c.Answer(ask); reply != nil {
		t.Errorf("eth0 answers for an address that is announced on eth1: %x", reply)
	}
	c.name = "eth1"
	if c.Answer(ask) == nil {
		t.Error("eth1 does not answer")
	}
}

func TestARPAnnouncements(t *testing.T) {
	c := testARPCodec()
	var got []arp.Packet
	err := c.announcements(netip.MustParseAddr("192.0.2.100"), func(frame []byte) error {
		if diff := cmp.Diff(slices.Concat(c.self[:], []byte{0x08, 0x06}), frame[6:ethernetLen]); diff != "" {
			t.Errorf("Ethernet source and type (-want +got):\n%s", diff)
		}
		if mac(frame) != broadcast() {
			t.Errorf("sent to %x, want broadcast", frame[:6])
		}
		var p arp.Packet
		if err := p.UnmarshalBinary(slices.Clone(frame[ethernetLen:])); err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
		return nil
	})
	if err != nil || len(got) != 2 {
		t.Fatalf("%d frames, error %v, want 2", len(got), err)
	}
	for i, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		p := got[i]
		if p.Operation != op || p.SenderIP != p.TargetIP || p.SenderIP.String() != "192.0.2.100" ||
			mac(p.SenderHardwareAddr) != c.self {
			t.Errorf("announcement %d = %+v", i, p)
		}
	}
}

func TestAnswersAllocateNothing(t *testing.T) {
	a := testARPCodec("192.0.2.100")
	ask := arpFrame(t, broadcast(), arp.OperationRequest, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
	if n := testing.AllocsPerRun(100, func() { a.Answer(ask); a.Answered() }); n != 0 {
		t.Errorf("ARP: %v allocations per answer", n)
	}
	n := testNDPCodec("2001:db8::100")
	solicit := solicitationFrame(t, solicitOptions{})
	if n := testing.AllocsPerRun(100, func() { n.Answer(solicit); n.Answered() }); n != 0 {
		t.Errorf("NDP: %v allocations per answer", n)
	}
}

// FuzzARPRequest: whatever comes in, an answer is given only to what the oracle
// too takes for a request for our address, and is well-formed.
func FuzzARPRequest(f *testing.F) {
	ask := arpFrame(f, broadcast(), arp.OperationRequest, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
	f.Add(ask)
	f.Add(ask[:41])
	f.Add(arpFrame(f, mac{2, 0, 0, 0, 0, 1}, arp.OperationReply, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		c := testARPCodec("192.0.2.100")
		before := slices.Clone(frame)
		reply := c.Answer(frame)
		if !slices.Equal(before, frame) {
			t.Error("the frame was modified")
		}
		if reply == nil {
			return
		}
		if !passes(t, ARP, frame) {
			t.Errorf("the filter would have dropped %x", frame)
		}
		var q arp.Packet
		if err := q.UnmarshalBinary(frame[ethernetLen:]); err != nil {
			t.Fatalf("answered %x, which the oracle refuses: %v", frame, err)
		}
		if q.Operation != arp.OperationRequest || q.TargetIP.String() != "192.0.2.100" || q.SenderHardwareAddr[0]&1 != 0 {
			t.Fatalf("answered %+v", q)
		}
		checkARPReply(t, frame, reply, c.self)
	})
}
