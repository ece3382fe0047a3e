// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"github.com/mdlayher/packet"
)

// stranger is the sender of malformed frames: a locally administered address that is
// nobody's, so that no neighbour table is harmed by what it says about itself.
const stranger = "\x02\xba\xd0\xba\xd0\x01"

// Garbage sends n malformed frames on the interface: ARP requests and neighbour
// solicitations for the targets, cut short, drawn out, or with bits turned over. The
// seed determines the frames.
func Garbage(ns Namespace, ifname string, targets []netip.Addr, n int, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	return ns.Enter(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		conn, err := packet.Listen(ifi, packet.Raw, 0, nil) // protocol 0: send only
		if err != nil {
			return fmt.Errorf("open packet socket on %s: %w", ifname, err)
		}
		defer conn.Close()
		for range n {
			frame := spoil(random, question(targets[random.IntN(len(targets))]))
			to := &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}
			_, err := conn.WriteTo(frame, to)
			if err != nil && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.EMSGSIZE) {
				return fmt.Errorf("send frame on %s: %w", ifname, err)
			}
		}
		return nil
	})
}

// question returns a well-formed ARP request or neighbour solicitation, sent to all.
func question(target netip.Addr) []byte {
	if target.Is4() {
		return arpRequest(target)
	}
	return solicitation(target)
}

// arpRequest is a probe (RFC 5227), which claims no address.
func arpRequest(target netip.Addr) []byte {
	return ARPRequest(net.HardwareAddr(stranger), netip.IPv4Unspecified(), target)
}

func solicitation(target netip.Addr) []byte {
	return Solicitation(net.HardwareAddr(stranger), netip.MustParseAddr("fe80::bad0:bad0:1"), target)
}

// spoil makes a frame malformed. Ethernet's header stays, so that it arrives; so do
// the sender's addresses, so that it cannot by chance speak for somebody else. The
// checksum of what it spoils beyond the header of IPv6 is made right again, so that it
// gets past the kernel.
func spoil(random *rand.Rand, frame []byte) []byte {
	body := frame[ethernetLen:]
	keep := func(i int) bool { return i >= 8 && i < 18 } // ARP: sender hardware and protocol address
	v6 := frame[12] == etherTypeIPv6>>8
	if v6 {
		keep = func(i int) bool { return i < ipv6Len }
	}
	for range random.IntN(8) {
		if i := random.IntN(len(body)); !keep(i) {
			body[i] ^= 1 << random.IntN(8)
		}
	}
	switch random.IntN(3) {
	case 0: // cut short, anywhere behind Ethernet's header
		frame = frame[:ethernetLen+random.IntN(len(body))]
	case 1: // drawn out
		for range random.IntN(200) {
			frame = append(frame, byte(random.Uint32()))
		}
	}
	if v6 && len(frame) > ethernetLen+ipv6Len+4 {
		repair(frame[ethernetLen:])
	}
	return frame
}

// repair makes length and checksum of an IPv6 packet with an ICMPv6 message right.
func repair(body []byte) {
	message := body[ipv6Len:]
	binary.BigEndian.PutUint16(body[4:], uint16(len(message)))
	message[2], message[3] = 0, 0
	sum := icmpChecksum([16]byte(body[8:24]), [16]byte(body[24:40]), message)
	binary.BigEndian.PutUint16(message[2:], sum)
}
