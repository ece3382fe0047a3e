// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"io"
	"net/netip"
)

// Ports (RFC 5881, section 4; RFC 5883, section 5).
const (
	controlPort  = 3784
	echoPort     = 3785
	multihopPort = 4784

	firstSourcePort = 49152
)

// hopLimit is the TTL of everything that is sent, and what it still is after a
// single hop (RFC 5881, section 5; RFC 5082).
const hopLimit = 255

// network opens sockets. The kernel is one; tests have one in memory.
type network interface {
	// listen opens where packets of a kind arrive.
	listen(ctx context.Context, e entrance) (receiver, error)
	// open opens a way to send the packets of a session, from a source port. The
	// error is errPortTaken if another process has the port.
	open(p Path, port uint16) (sender, error)
	// openEcho opens a way to send and receive echo packets.
	openEcho() (echoSocket, error)
}

// entrance is where packets of a kind arrive: one socket, for all sessions.
type entrance struct {
	IPv4     bool
	Multihop bool
	VRF      string
}

// String names the entrance in logs.
func (e entrance) String() string {
	name := "IPv6"
	if e.IPv4 {
		name = "IPv4"
	}
	if e.Multihop {
		name += " multihop"
	}
	if e.VRF != "" {
		name += " VRF " + e.VRF
	}
	return name
}

func (p Path) entrance() entrance {
	return entrance{IPv4: p.Peer.Is4(), Multihop: p.Multihop, VRF: p.VRF}
}

func (p Path) port() uint16 {
	if p.Multihop {
		return multihopPort
	}
	return controlPort
}

// arrival is how a packet came.
type arrival struct {
	length int
	from   netip.Addr // without zone
	to     netip.Addr
	index  int // of the interface
	ttl    int
}

// receiver receives the packets of an entrance.
type receiver interface {
	// receive waits for a packet. The error is net.ErrClosed after Close.
	receive(b []byte) (arrival, error)
	// poll returns a packet that is waiting; false: none is. It may be called
	// while another goroutine is in receive.
	poll(b []byte) (arrival, bool)
	io.Closer
}

// sender sends the packets of a session. It never waits.
type sender interface {
	send(b []byte) error
	// interfaceIndex is the number of the interface of the path; 0: it names none.
	interfaceIndex() int
	io.Closer
}

// echoSocket carries echo packets over all interfaces.
type echoSocket interface {
	// sendEcho sends a payload over an interface to a neighbor, which is to
	// forward it back to the address local. It never waits; it is false, without
	// an error, if the neighbor's hardware address is not known yet.
	sendEcho(index int, neighbor, local netip.Addr, payload []byte) (bool, error)
	// receiveEcho waits for a payload that has come back. The error is
	// net.ErrClosed after Close.
	receiveEcho(b []byte) (int, error)
	io.Closer
}
