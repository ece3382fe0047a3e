// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

func TestQuestionsAreWellFormed(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::12:3456")

	request := new(arp.Packet)
	if err := request.UnmarshalBinary(question(v4)[ethernetLen:]); err != nil {
		t.Fatal(err)
	}
	if request.Operation != arp.OperationRequest || request.TargetIP != v4 {
		t.Errorf("asks %+v", request)
	}

	body := question(v6)[ethernetLen:]
	source, group := [16]byte(body[8:24]), [16]byte(body[24:40])
	message, err := ndp.ParseMessage(body[ipv6Len:])
	if err != nil {
		t.Fatal(err)
	}
	if ns, ok := message.(*ndp.NeighborSolicitation); !ok || ns.TargetAddress != v6 {
		t.Errorf("asks %+v", message)
	}
	if want, err := ndp.SolicitedNodeMulticast(v6); err != nil || netip.AddrFrom16(group) != want {
		t.Errorf("asks %s; want %s (%v)", netip.AddrFrom16(group), want, err)
	}
	if sum := icmpChecksum(source, group, body[ipv6Len:]); sum != 0 {
		t.Errorf("checksum is off by %#x", sum)
	}
}

// What is spoiled must still arrive, must differ, and must not speak for others.
func TestSpoiledFramesArriveAndHarmNobody(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, target := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		whole := question(target)
		different := 0
		for range 1000 {
			frame := spoil(random, question(target))
			if !bytes.Equal(frame[:ethernetLen], whole[:ethernetLen]) {
				t.Fatalf("spoiled the header: % x", frame)
			}
			sender := [2]int{ethernetLen + 8, ethernetLen + 18} // RFC 826
			if target.Is6() {
				sender = [2]int{ethernetLen + 8, ethernetLen + 24}
			}
			if n := min(len(frame), sender[1]); n > sender[0] && !bytes.Equal(frame[sender[0]:n], whole[sender[0]:n]) {
				t.Fatalf("spoiled the sender: % x", frame)
			}
			if !bytes.Equal(frame, whole) {
				different++
			}
		}
		if different < 900 {
			t.Errorf("%s: %d of 1000 frames differ from a good one", target, different)
		}
	}
}

func TestGratuitousFramesAreTold(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	announcement := arpRequest(v4)
	copy(announcement[ethernetLen+14:], v4.AsSlice()) // claims the address it asks for
	for name, c := range map[string]struct {
		frame []byte
		addr  netip.Addr
	}{
		"a request":                    {question(v4), netip.Addr{}},
		"a solicitation":               {question(v6), netip.Addr{}},
		"an announcement":              {announcement, v4},
		"an announcement, cut short":   {announcement[:30], netip.Addr{}},
		"an unsolicited NA":            {advertisement(v6, 0x20), v6},
		"an unsolicited NA, humble":    {advertisement(v6, 0), netip.Addr{}},
		"a solicited NA":               {advertisement(v6, 0x60), netip.Addr{}},
		"an unsolicited NA, cut short": {advertisement(v6, 0x20)[:60], netip.Addr{}},
		"nothing":                      {nil, netip.Addr{}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, mac, ok := Gratuitous(c.frame)
			if addr != c.addr || ok != c.addr.IsValid() {
				t.Errorf("it speaks for %v (%t); want %v", addr, ok, c.addr)
			}
			if want := "02:ba:d0:ba:d0:01"; ok && mac != want {
				t.Errorf("it is at %s; want %s", mac, want)
			}
		})
	}
}

// advertisement turns a solicitation into an advertisement to all nodes with these flags.
func advertisement(target netip.Addr, flags byte) []byte {
	frame := solicitation(target)
	group := netip.MustParseAddr("ff02::1").As16()
	copy(frame[ethernetLen+24:], group[:])
	message := frame[ethernetLen+ipv6Len:]
	message[0], message[4], message[24] = 136, flags, 2
	return frame
}
