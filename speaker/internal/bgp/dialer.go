// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leastDialTime is what a connection is given at least, so that a lost SYN costs
// no attempt.
const leastDialTime = 2 * time.Second

// dialPeer opens a connection to the peer at this address, with all that the peer asks
// of a socket.
func dialPeer(ctx context.Context, p *Peer, address netip.Addr) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: max(p.ConnectRetry, leastDialTime), Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = prepare(int(fd), p, address) }); err != nil {
			return fmt.Errorf("prepare a socket: %w", err)
		}
		return failed
	}}
	d.SetMultipathTCP(false) // it excludes MD5
	if p.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(address, p.Port).String())
	if err != nil {
		hint := ""
		if p.Password != "" && ctx.Err() == nil {
			hint = " (a router with another password does not answer either)"
		}
		return nil, fmt.Errorf("connect to the peer: %w%s", err, hint)
	}
	return conn.(*net.TCPConn), nil
}

// prepare sets the options of a socket that is about to connect.
func prepare(fd int, p *Peer, address netip.Addr) error {
	if p.Device != "" {
		if err := unix.BindToDevice(fd, p.Device); err != nil {
			return fmt.Errorf("bind to device %s: %w", p.Device, err)
		}
	}
	if err := setDistance(fd, p, address); err != nil {
		return err
	}
	if p.Password == "" {
		return nil
	}
	key := unix.TCPMD5Sig{Keylen: uint16(len(p.Password))}
	copy(key.Key[:], p.Password)
	// A sockaddr_in has its address after the port, a sockaddr_in6 after the flow label
	// too.
	key.Addr.Family = unix.AF_INET
	at := 2
	if address.Is6() {
		key.Addr.Family = unix.AF_INET6
		at = 6
	}
	for i, b := range address.AsSlice() {
		key.Addr.Data[at+i] = b
	}
	if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key); err != nil {
		return fmt.Errorf("set the password (TCP MD5, RFC 2385): %w", err)
	}
	return nil
}

// setDistance sets the TTL to send, and the least one to accept.
func setDistance(fd int, p *Peer, address netip.Addr) error {
	level, send, accept := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
	if address.Is6() {
		level, send, accept = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT
	}
	ttl := 0
	switch {
	case p.MinTTL != 0:
		ttl = 255 // RFC 5082, 3
	case p.internal():
	case p.MultihopTTL != 0:
		ttl = int(p.MultihopTTL)
	default:
		ttl = 1
	}
	if ttl != 0 {
		if err := unix.SetsockoptInt(fd, level, send, ttl); err != nil {
			return fmt.Errorf("set the TTL: %w", err)
		}
	}
	if p.MinTTL != 0 {
		if err := unix.SetsockoptInt(fd, level, accept, int(p.MinTTL)); err != nil {
			return fmt.Errorf("set the least TTL (RFC 5082): %w", err)
		}
	}
	return nil
}
