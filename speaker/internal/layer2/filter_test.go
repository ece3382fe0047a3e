// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run interprets a filter outside of the kernel, where a frame has neither a
// packet type nor a VLAN tag beside it: these are given.
func runFilter(t testing.TB, p Protocol, s *Sieve, frame []byte, packetType, tag uint32) bool {
	t.Helper()
	raw, err := filter(p, s)
	if err != nil {
		t.Fatal(err)
	}
	program := make([]bpf.Instruction, len(raw))
	for i, r := range raw {
		switch instruction := r.Disassemble(); instruction {
		case bpf.LoadExtension{Num: bpf.ExtType}:
			program[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: packetType}
		case bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}:
			program[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: tag}
		default:
			program[i] = instruction
		}
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n != 0
}

func passes(t testing.TB, p Protocol, frame []byte) bool {
	t.Helper()
	return runFilter(t, p, nil, frame, unix.PACKET_BROADCAST, 0)
}

// with returns the frame with one byte changed.
func with(frame []byte, at int, value byte) []byte {
	frame = slices.Clone(frame)
	frame[at] = value
	return frame
}

func TestFilter(t *testing.T) {
	client := mac{2, 0, 0, 0, 0, 9}
	ask := arpFrame(t, broadcast(), arp.OperationRequest, client, "192.0.2.9", "192.0.2.100")
	solicit := solicitationFrame(t, solicitOptions{})
	tests := []struct {
		name       string
		protocol   Protocol
		frame      []byte
		packetType uint32
		tag        uint32
		want       bool
	}{
		{"ARP request by broadcast", ARP, ask, unix.PACKET_BROADCAST, 0, true},
		{"ARP request by unicast", ARP, ask, unix.PACKET_HOST, 0, true},
		{"ARP request for another station", ARP, ask, unix.PACKET_OTHERHOST, 0, false},
		{"ARP request of our own", ARP, ask, unix.PACKET_OUTGOING, 0, false},
		{"ARP request with a VLAN tag", ARP, ask, unix.PACKET_BROADCAST, 1, false},
		{"ARP reply", ARP, arpFrame(t, broadcast(), arp.OperationReply, client, "192.0.2.9", "192.0.2.100"), unix.PACKET_BROADCAST, 0, true},
		{"ARP announcement", ARP, arpFrame(t, broadcast(), arp.OperationRequest, client, "192.0.2.9", "192.0.2.9"), unix.PACKET_BROADCAST, 0, true},
		{"reverse ARP", ARP, arpFrame(t, broadcast(), 3, client, "192.0.2.9", "192.0.2.9"), unix.PACKET_BROADCAST, 0, false},
		{"ARP operation 0", ARP, arpFrame(t, broadcast(), 0, client, "192.0.2.9", "192.0.2.9"), unix.PACKET_BROADCAST, 0, false},
		{"ARP request cut", ARP, ask[:41], unix.PACKET_BROADCAST, 0, false},
		{"solicitation in ARP's socket", ARP, solicit, unix.PACKET_MULTICAST, 0, false},
		{"solicitation by multicast", NDP, solicit, unix.PACKET_MULTICAST, 0, true},
		{"solicitation by unicast", NDP, solicit, unix.PACKET_HOST, 0, true},
		{"solicitation for another station", NDP, solicit, unix.PACKET_OTHERHOST, 0, false},
		{"solicitation with a VLAN tag", NDP, solicit, unix.PACKET_MULTICAST, 1, false},
		{"advertisement", NDP, advertisementFrame(t, advertisementOptions{}), unix.PACKET_MULTICAST, 0, true},
		{"redirect", NDP, with(solicit, icmpAt, 137), unix.PACKET_MULTICAST, 0, false},
		{"router advertisement", NDP, with(solicit, icmpAt, 134), unix.PACKET_MULTICAST, 0, false},
		{"solicitation of code 1", NDP, with(solicit, icmpCodeAt, 1), unix.PACKET_MULTICAST, 0, false},
		{"solicitation cut", NDP, solicit[:optionsAt-1], unix.PACKET_MULTICAST, 0, false},
		{"ARP request in NDP's socket", NDP, ask, unix.PACKET_BROADCAST, 0, false},
	}
	for _, tt := range tests {
		if got := runFilter(t, tt.protocol, nil, tt.frame, tt.packetType, tt.tag); got != tt.want {
			t.Errorf("%s: passes = %v, want %v", tt.name, got, tt.want)
		}
	}
}
