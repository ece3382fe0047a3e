// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// nextHops are those of one session, for paths that have none of their own. One that
// is unspecified is filled in by gobgp with the address the session is opened from;
// one that is invalid does not exist.
type nextHops struct {
	v4, v6 netip.Addr
}

// of returns the next hop for a family.
func (n nextHops) of(f Families) netip.Addr {
	if f == IPv4Unicast {
		return n.v4
	}
	return n.v6
}

// findNextHops finds the next hops for a session with the peer at this address, by the
// interface that leads there.
func findNextHops(ctx context.Context, p *Peer, address netip.Addr) (nextHops, error) {
	n := nextHops{v4: p.NextHop4, v6: p.NextHop6}
	if n.v4.IsValid() && n.v6.IsValid() {
		return n, nil
	}
	// gobgp sends no routes of a family that is not the session's.
	if (address.Is4() || !p.Families.Has(IPv4Unicast)) && !n.v4.IsValid() {
		n.v4 = netip.IPv4Unspecified()
	}
	linkLocal := address.IsLinkLocalUnicast() && address.Is6()
	if (address.Is6() && !linkLocal || !p.Families.Has(IPv6Unicast)) && !n.v6.IsValid() {
		n.v6 = netip.IPv6Unspecified()
	}
	if n.v4.IsValid() && n.v6.IsValid() {
		return n, nil
	}
	local, err := localAddress(ctx, p, address)
	if err != nil {
		return n, err
	}
	others, err := addressesBeside(local)
	if err != nil {
		return n, err
	}
	if linkLocal && !n.v6.IsValid() {
		// gobgp sends no next hop at all if it has to fill in a link-local one.
		n.v6 = local.WithZone("")
	}
	if !n.v6.IsValid() {
		n.v6 = firstGlobal(others, IPv6Unicast)
	}
	if !n.v4.IsValid() {
		if n.v4 = firstGlobal(others, IPv4Unicast); !n.v4.IsValid() || p.Interface != "" {
			n.v4 = local.WithZone("") // RFC 8950
		}
	}
	return n, nil
}

// localAddress returns the address from which the peer would be dialled now.
func localAddress(ctx context.Context, p *Peer, address netip.Addr) (netip.Addr, error) {
	if p.Source.IsValid() {
		return p.Source, nil
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if p.Device == "" {
			return nil
		}
		ctl := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), p.Device) })
		if err == nil {
			err = ctl
		}
		return err
	}}
	// A UDP socket that is connected and sends nothing: it asks for the route.
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(address, p.Port).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to the peer: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return netip.MustParseAddrPort(conn.LocalAddr().String()).Addr(), nil
}

// addressesBeside returns the addresses of the interface that has this one.
func addressesBeside(local netip.Addr) ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range interfaces {
		if local.Zone() != "" && local.Zone() != i.Name {
			continue
		}
		addresses := addressesOf(&i)
		for _, a := range addresses {
			if a == local.WithZone("") {
				return addresses, nil
			}
		}
	}
	return nil, nil
}

func addressesOf(i *net.Interface) []netip.Addr {
	list, err := i.Addrs()
	if err != nil { // the interface has gone meanwhile
		return nil
	}
	var addresses []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addresses = append(addresses, p.Addr().Unmap())
		}
	}
	return addresses
}

// firstGlobal returns the first address of the family that others can reach, or an
// invalid one.
func firstGlobal(list []netip.Addr, f Families) netip.Addr {
	for _, a := range list {
		if familyOf(a) == f && a.IsGlobalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}
