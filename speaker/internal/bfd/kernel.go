// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel is the network of the kernel. To bind to a device, and for echo packets,
// it needs CAP_NET_RAW.
type kernel struct {
	port uint16 // in place of the port that a path demands; 0: none
}

// errPortTaken: somebody else has the source port.
var errPortTaken error = unix.EADDRINUSE

func isPortTaken(err error) bool { return errors.Is(err, errPortTaken) }

// precedence is the type of service of what keeps a network together: precedence
// 6, internetwork control (RFC 791).
const precedence = 0xc0

// listen implements network.
func (k kernel) listen(ctx context.Context, e entrance) (receiver, error) {
	family, port := "udp6", controlPort
	if e.IPv4 {
		family = "udp4"
	}
	if e.Multihop {
		port = multihopPort
	}
	if k.port != 0 {
		port = int(k.port)
	}
	var failed error
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		err := raw.Control(func(fd uintptr) { failed = describeArrivals(int(fd), e) })
		return errors.Join(err, failed)
	}}
	conn, err := c.ListenPacket(ctx, family, fmt.Sprintf(":%d", port))
	if isPortTaken(err) {
		return nil, fmt.Errorf("listen for BFD, end the other BFD daemon on this node: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for BFD: %w", err)
	}
	udp := conn.(*net.UDPConn)
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	return &udpReceiver{UDPConn: udp, raw: raw}, nil
}

// describeArrivals makes a socket say how its packets came.
func describeArrivals(fd int, e entrance) error {
	level, options := unix.IPPROTO_IPV6, []int{unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVPKTINFO}
	if e.IPv4 {
		level, options = unix.IPPROTO_IP, []int{unix.IP_RECVTTL, unix.IP_PKTINFO}
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, level, o, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return bindToDevice(fd, e.VRF)
}

func bindToDevice(fd int, name string) error {
	if name == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("bind to device %s: %w", name, err)
	}
	return nil
}

// udpReceiver is the receiver of the kernel. Only one goroutine may be in receive,
// and one in poll.
type udpReceiver struct {
	*net.UDPConn
	raw         syscall.RawConn
	control     [controlSpace]byte
	controlPoll [controlSpace]byte
}

// controlSpace holds the control messages that describeArrivals asks for.
const controlSpace = 128

// receive implements receiver.
func (r *udpReceiver) receive(b []byte) (arrival, error) {
	n, oobn, _, from, err := r.ReadMsgUDPAddrPort(b, r.control[:])
	if err != nil {
		return arrival{}, err
	}
	a := arrival{length: n, from: from.Addr().Unmap().WithZone("")}
	a.describe(r.control[:oobn])
	return a, nil
}

// poll implements receiver.
func (r *udpReceiver) poll(b []byte) (a arrival, ok bool) {
	err := r.raw.Control(func(fd uintptr) {
		n, oobn, _, from, err := unix.Recvmsg(int(fd), b, r.controlPoll[:], unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		ok = true
		a.length = n
		switch from := from.(type) {
		case *unix.SockaddrInet4:
			a.from = netip.AddrFrom4(from.Addr)
		case *unix.SockaddrInet6:
			a.from = netip.AddrFrom16(from.Addr)
		}
		a.describe(r.controlPoll[:oobn])
	})
	return a, ok && err == nil
}

// describe reads the control messages of a packet.
func (a *arrival) describe(control []byte) {
	for len(control) >= unix.SizeofCmsghdr { // less is read beyond its end
		h, content, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return
		}
		control = rest
		switch {
		case len(content) < 4: // none of ours
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT:
			a.ttl = int(binary.NativeEndian.Uint32(content))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(content) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address, destination
			a.index = int(binary.NativeEndian.Uint32(content))
			a.to = netip.AddrFrom4([4]byte(content[8:]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(content) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: destination, interface
			a.to = netip.AddrFrom16([16]byte(content))
			a.index = int(binary.NativeEndian.Uint32(content[16:]))
		}
	}
}

// udpSender is the sender of the kernel. It is a bare descriptor, which no poller
// knows: a packet that cannot be sent now is no use later, and there are as many
// senders as there are sessions.
type udpSender struct {
	fd    int
	to    unix.Sockaddr
	index int
}

// open implements network.
func (k kernel) open(p Path, port uint16) (sender, error) {
	s := &udpSender{}
	if p.Interface != "" {
		i, err := net.InterfaceByName(p.Interface)
		if err != nil {
			return nil, fmt.Errorf("find interface %s: %w", p.Interface, err)
		}
		s.index = i.Index
	}
	family := unix.AF_INET6
	if p.Peer.Is4() {
		family = unix.AF_INET
	}
	var err error
	s.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open BFD socket to %s: %w", p.Peer, os.NewSyscallError("socket", err))
	}
	if err := s.prepare(p, k.portOf(p), port); err != nil {
		return nil, errors.Join(fmt.Errorf("open BFD socket to %s: %w", p.Peer, err), unix.Close(s.fd))
	}
	return s, nil
}

// portOf is the port that packets of a path go to.
func (k kernel) portOf(p Path) uint16 {
	if k.port != 0 {
		return k.port
	}
	return p.port()
}

// prepare sets what all packets have in common.
func (s *udpSender) prepare(p Path, to, port uint16) error {
	local := p.Local
	options := [][3]int{
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hopLimit},
		{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, precedence},
	}
	if p.Peer.Is4() {
		options = [][3]int{{unix.IPPROTO_IP, unix.IP_TTL, hopLimit}, {unix.IPPROTO_IP, unix.IP_TOS, precedence}}
	}
	// Nothing is ever read here: whatever comes is to take no memory.
	options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_RCVBUF, 0})
	for _, o := range options {
		if err := unix.SetsockoptInt(s.fd, o[0], o[1], o[2]); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	device := p.Interface // which is in the VRF, if there is one
	if device == "" {
		device = p.VRF
	}
	if err := bindToDevice(s.fd, device); err != nil {
		return err
	}
	s.to = s.socketAddress(p.Peer, to)
	if !local.IsValid() {
		local = netip.IPv6Unspecified()
		if p.Peer.Is4() {
			local = netip.IPv4Unspecified()
		}
	}
	if err := unix.Bind(s.fd, s.socketAddress(local, port)); err != nil {
		return fmt.Errorf("bind to %s: %w", netip.AddrPortFrom(local, port), err)
	}
	return nil
}

// socketAddress gives link-local addresses the scope of the interface.
func (s *udpSender) socketAddress(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		sa.ZoneId = uint32(s.index)
	}
	return sa
}

// send implements sender.
func (s *udpSender) send(b []byte) error {
	err := unix.Sendto(s.fd, b, 0, s.to)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return nil // a queue is full: lost like any packet, and the socket is good
	}
	return os.NewSyscallError("sendto", err)
}

// interfaceIndex implements sender.
func (s *udpSender) interfaceIndex() int { return s.index }

// Close implements io.Closer.
func (s *udpSender) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }
