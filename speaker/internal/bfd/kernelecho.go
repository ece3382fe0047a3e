// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// An echo packet of ours is addressed to ourselves and sent to the neighbor, which
// forwards it like any other (RFC 5881, section 4). No UDP socket can do that: the
// kernel would deliver the packet at once, and drop what comes back from outside
// with an address of its own. So both directions go through a packet socket.

// packetEcho is the echo socket of the kernel.
type packetEcho struct {
	file      *os.File
	fd        int // of file; Sessions close it and send by it under one lock
	to        unix.SockaddrLinklayer
	neighbors neighbors
	frame     [ipv4Header + udpHeader + maxPacket]byte
}

const (
	ipv4Header = 20
	udpHeader  = 8
)

// openEcho implements network.
func (kernel) openEcho() (echoSocket, error) {
	// Protocol 0 receives nothing until bind, when the filter is in place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open BFD echo socket: %w", os.NewSyscallError("socket", err))
	}
	err = attachEchoFilter(fd)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP)}))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open BFD echo socket: %w", err), unix.Close(fd))
	}
	return &packetEcho{file: os.NewFile(uintptr(fd), "bfd-echo"), fd: fd}, nil
}

// attachEchoFilter lets pass what has been forwarded once: IPv4 without options or
// fragments, TTL 254, UDP to the echo port.
func attachEchoFilter(fd int) error {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x45, SkipTrue: 9},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 7},
		bpf.LoadAbsolute{Off: 8, Size: 2}, // TTL and protocol
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: (hopLimit-1)<<8 | unix.IPPROTO_UDP, SkipTrue: 5},
		bpf.LoadAbsolute{Off: ipv4Header + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoPort, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: ipv4Header + udpHeader + maxPacket},
		bpf.RetConstant{Val: 0},
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	return os.NewSyscallError("setsockopt", err)
}

// sendEcho implements echoSocket. The control packets make the kernel find the
// neighbor's hardware address.
func (e *packetEcho) sendEcho(index int, neighbor, local netip.Addr, payload []byte) (bool, error) {
	mac, known, err := e.neighbors.lookup(index, neighbor)
	if err != nil || !known {
		return false, err
	}
	e.to = unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: index, Halen: 6}
	copy(e.to.Addr[:], mac[:])
	err = unix.Sendto(e.fd, e.datagram(local, payload), 0, &e.to)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
		return true, nil // a queue is full: lost like any packet
	}
	return err == nil, os.NewSyscallError("sendto", err)
}

// datagram is an echo packet from local to local.
func (e *packetEcho) datagram(local netip.Addr, payload []byte) []byte {
	length := ipv4Header + udpHeader + len(payload)
	b := e.frame[:length]
	clear(b)
	a := local.As4()
	b[0], b[1] = 0x45, precedence
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	b[6] = 0x40 // don't fragment
	b[8], b[9] = hopLimit, unix.IPPROTO_UDP
	copy(b[12:], a[:])
	copy(b[16:], a[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b[:ipv4Header], 0))

	u := b[ipv4Header:]
	binary.BigEndian.PutUint16(u, echoPort)
	binary.BigEndian.PutUint16(u[2:], echoPort)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[udpHeader:], payload)
	pseudo := uint32(unix.IPPROTO_UDP) + uint32(len(u))
	for range 2 {
		pseudo += uint32(binary.BigEndian.Uint16(a[:])) + uint32(binary.BigEndian.Uint16(a[2:]))
	}
	binary.BigEndian.PutUint16(u[6:], checksum(u, pseudo))
	return b
}

// checksum is that of the Internet (RFC 1071), never zero, which UDP wants.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}

// receiveEcho implements echoSocket.
func (e *packetEcho) receiveEcho(b []byte) (int, error) {
	var frame [ipv4Header + udpHeader + maxPacket]byte
	for {
		n, err := e.file.Read(frame[:])
		switch {
		case errors.Is(err, os.ErrClosed):
			return 0, net.ErrClosed
		case err != nil:
			return 0, err
		case n > ipv4Header+udpHeader && bytes.Equal(frame[12:16], frame[16:20]):
			return copy(b, frame[ipv4Header+udpHeader:n]), nil
		}
	}
}

// Close implements io.Closer.
func (e *packetEcho) Close() error { return e.file.Close() }

// networkOrder is a number as the kernel wants it in some fields.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}
