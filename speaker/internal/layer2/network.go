// SPDX-License-Identifier: Apache-2.0

package layer2

import "net/netip"

// Network opens sockets on the links of this node. The kernel's is the default;
// layer2test has one in memory. Its methods may be called from several
// goroutines at once.
type Network interface {
	// Open returns a socket for one protocol on one interface.
	Open(p Protocol, i Interface) (Socket, error)
	// Memberships returns an empty set of multicast memberships on an interface.
	Memberships(i Interface) Memberships
}

// Socket receives and sends Ethernet frames of one protocol on one interface.
type Socket interface {
	// Serve hands frames to a and sends what it answers, until Close is called or
	// the socket fails; it always returns an error. An answer that cannot be sent
	// for lack of buffers is dropped. The slices belong to whoever made them and
	// are valid until the next frame. Serve is called once.
	Serve(a Answerer) error
	// Admit replaces what the socket goes by to drop frames that are none of this
	// node's business before anybody is woken: a sieve of the addresses that may be
	// asked for, nil for all. It may be called while Serve runs, and is all as it was
	// after an error.
	Admit(s *Sieve) error
	// Send sends a frame. It may be called while Serve runs. It waits for room in
	// the socket's buffer.
	Send(frame []byte) error
	// Close ends Serve and Send. It is called once.
	Close() error
}

// Answerer answers frames. It is called by one goroutine.
type Answerer interface {
	// Answer returns the frame to send in answer to frame; nil for none.
	Answer(frame []byte) []byte
	// Answered is called after the last answer has been sent.
	Answered()
}

// Memberships are the multicast groups joined on one interface. They are used by
// one goroutine.
type Memberships interface {
	// Join joins a group that has not been joined.
	Join(group netip.Addr) error
	// Leave leaves a group that has been joined.
	Leave(group netip.Addr) error
	// Close leaves all groups.
	Close() error
}
