// SPDX-License-Identifier: Apache-2.0

package echo

import (
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// reportDestination makes a UDP socket tell which address each datagram came to:
// a reply must leave from that one, or a proxy in between would not know it.
func reportDestination(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// serveUDP answers each datagram from the address it was sent to.
func (s Server) serveUDP(c *net.UDPConn) {
	payload, control := make([]byte, 64<<10), make([]byte, 256)
	for {
		_, n, _, client, err := c.ReadMsgUDPAddrPort(payload, control)
		if err != nil {
			return // closed
		}
		local, _ := netip.ParseAddrPort(c.LocalAddr().String())
		destination := destinationOf(control[:n])
		reply := s.reply("udp", net.UDPAddrFromAddrPort(client),
			net.UDPAddrFromAddrPort(netip.AddrPortFrom(destination, local.Port())))
		// A client that has gone is no reason to stop serving the others.
		_, _, _ = c.WriteMsgUDPAddrPort(reply, sourceMessage(destination), client)
	}
}

// destinationOf reads the address from a packet info control message.
func destinationOf(control []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[8:12])) // ipi_addr, the header's destination
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(m.Data[0:16]))
		}
	}
	return netip.Addr{}
}

// sourceMessage is the control message that makes a reply leave from addr.
func sourceMessage(addr netip.Addr) []byte {
	switch {
	case addr.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: addr.As4()})
	case addr.Is6():
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: addr.As16()})
	}
	return nil
}
