// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Types of messages (RFC 4271, 4.1).
const (
	typeOpen      = 1
	typeUpdate    = 2
	typeKeepalive = 4
)

const rogueASN = 64599

// rogue is a speaker of BGP that is made by hand, and says what it likes.
type rogue struct {
	address netip.Addr
	// connections and updates are how many came.
	connections, updates atomic.Int32
}

// message puts a header before a body.
func message(kind byte, body ...byte) []byte {
	m := slices.Repeat([]byte{0xff}, 16)
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, kind), body...)
}

// open returns an OPEN message (RFC 4271, 4.2) with the capabilities of IPv4 and IPv6.
func open(version byte, asn, hold uint16) []byte {
	body := binary.BigEndian.AppendUint16([]byte{version}, asn)
	body = binary.BigEndian.AppendUint16(body, hold)
	capabilities := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1}
	body = append(body, 192, 0, 2, 66, byte(2+len(capabilities)), 2, byte(len(capabilities)))
	return message(typeOpen, append(body, capabilities...)...)
}

// Well-known attributes of an UPDATE (RFC 4271, 4.3): ORIGIN, AS_PATH of two octets each,
// NEXT_HOP.
var rogueAttributes = []byte{
	0x40, 1, 1, 0,
	0x40, 2, 4, 2, 1, rogueASN >> 8, rogueASN & 0xff,
	0x40, 3, 4, 192, 0, 2, 66,
}

// update returns an UPDATE with these attributes and prefixes as they are on the wire.
func update(attributes, prefixes []byte) []byte {
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attributes)))
	return message(typeUpdate, slices.Concat(body, attributes, prefixes)...)
}

// givenRogue has a rogue listen at an address of its own on the LAN until the story ends.
// It says first what it says instead of an OPEN; nil is an ordinary one, and then behave is
// called with each session that has come up.
func (s *story) givenRogue(address string, first []byte, behave func(net.Conn)) *rogue {
	s.Helper()
	machine, err := s.lab.Client("rogue")
	s.must(err)
	if out, err := machine.Exec(s.ctx, "ip", "address", "replace", address+"/24", "dev", "eth1"); err != nil {
		s.Fatal(err, out)
	}
	r := &rogue{address: netip.MustParseAddr(address)}
	l, err := machine.Netns().Listen(s.ctx, "tcp", address+":179")
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	var conversations sync.WaitGroup
	conversations.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			r.connections.Add(1)
			conversations.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				r.converse(conn, first, behave)
			})
		}
	})
	s.Cleanup(func() {
		cancel()
		l.Close()
		conversations.Wait()
	})
	return r
}

// converse goes on until the other side hangs up.
func (r *rogue) converse(conn net.Conn, first []byte, behave func(net.Conn)) {
	if first != nil {
		_, _ = conn.Write(first) // what comes of it is for the other side to say
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	_, _ = conn.Write(slices.Concat(open(4, rogueASN, 90), message(typeKeepalive)))
	header, body := make([]byte, 19), make([]byte, 4096)
	for {
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint16(header[16:])) - len(header)
		if length < 0 || length > len(body) {
			return
		}
		if _, err := io.ReadFull(conn, body[:length]); err != nil {
			return
		}
		switch header[18] {
		case typeUpdate:
			r.updates.Add(1)
		case typeKeepalive:
			_, _ = conn.Write(message(typeKeepalive))
			if behave != nil {
				behave(conn)
				behave = nil
			}
		}
	}
}

// fullTable sends that many routes.
func fullTable(conn net.Conn, routes int) {
	const perMessage = 800 // of 5 octets each
	prefixes := make([]byte, 0, 5*perMessage)
	for i := range routes {
		prefixes = append(prefixes, 32, 10, byte(i>>16), byte(i>>8), byte(i))
		if len(prefixes) == cap(prefixes) || i == routes-1 {
			if _, err := conn.Write(update(rogueAttributes, prefixes)); err != nil {
				return
			}
			prefixes = prefixes[:0]
		}
	}
}

// givenRoguePeer makes a rogue a peer of all nodes.
func (s *story) givenRoguePeer(name string, r *rogue) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system}
spec: {myASN: 64512, peerASN: %d, peerAddress: %s, connectTime: 1s, dualStackAddressFamily: true}
`, name, rogueASN, r.address))
}
