// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// request is an ARP request by broadcast, made by another implementation.
func request(t testing.TB, sender [6]byte, senderAddr string, target netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(arp.OperationRequest, sender[:], netip.MustParseAddr(senderAddr), make(net.HardwareAddr, 6), target)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, sender[:], []byte{0x08, 0x06}, b)
}

// solicitation is a neighbor solicitation by multicast, made by another
// implementation.
func solicitation(t testing.TB, sender [6]byte, source string, target netip.Addr) []byte {
	t.Helper()
	group, err := ndp.SolicitedNodeMulticast(target)
	if err != nil {
		t.Fatal(err)
	}
	src := netip.MustParseAddr(source)
	m := &ndp.NeighborSolicitation{
		TargetAddress: target,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: sender[:]}},
	}
	payload, err := ndp.MarshalMessageChecksum(m, src, group)
	if err != nil {
		t.Fatal(err)
	}
	last := group.As16()
	header := slices.Concat([]byte{0x33, 0x33}, last[12:], sender[:], []byte{0x86, 0xdd, 0x60, 0, 0, 0})
	header = binary.BigEndian.AppendUint16(header, uint16(len(payload)))
	return slices.Concat(append(header, 58, 255), src.AsSlice(), group.AsSlice(), payload)
}

// claim is what a frame says: this address is at that hardware address. It is an
// answer if it was sent to one station, an announcement if it was sent to all.
type claim struct {
	address netip.Addr
	mac     [6]byte
	answer  bool
}

// readClaim reads an ARP packet or a neighbor advertisement by the other
// implementations; it is false for all else.
func readClaim(frame []byte) (claim, bool) {
	if len(frame) < 14 {
		return claim{}, false
	}
	switch [2]byte(frame[12:]) {
	case [2]byte{0x08, 0x06}:
		var p arp.Packet
		if p.UnmarshalBinary(slices.Clone(frame[14:])) != nil {
			return claim{}, false
		}
		return claim{address: p.SenderIP, mac: [6]byte(p.SenderHardwareAddr), answer: frame[0]&1 == 0}, true
	case [2]byte{0x86, 0xdd}:
		if len(frame) < 54 || frame[20] != 58 {
			return claim{}, false
		}
		m, err := ndp.ParseMessage(frame[54:])
		na, ok := m.(*ndp.NeighborAdvertisement)
		if err != nil || !ok || len(na.Options) == 0 {
			return claim{}, false
		}
		if lla, ok := na.Options[0].(*ndp.LinkLayerAddress); ok {
			return claim{address: na.TargetAddress, mac: [6]byte(lla.Addr), answer: frame[0]&1 == 0}, true
		}
	}
	return claim{}, false
}
