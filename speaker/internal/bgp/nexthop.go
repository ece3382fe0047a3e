// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net"
	"net/netip"
)

// nextHops are those of one session, for paths that have none of their own. One that is
// invalid does not exist.
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

// findNextHops finds the next hops for a session that is opened from this address: the
// address itself, and for the other family one of the same interface.
func findNextHops(p *Peer, local netip.Addr) (nextHops, error) {
	n := nextHops{v4: p.NextHop4, v6: p.NextHop6}
	if !n.v4.IsValid() && local.Is4() {
		n.v4 = local
	}
	if !n.v6.IsValid() && local.Is6() {
		n.v6 = local.WithZone("")
	}
	// Of a family that is not the session's nothing is sent.
	if !n.v4.IsValid() && !p.Families.Has(IPv4Unicast) {
		n.v4 = netip.IPv4Unspecified()
	}
	if !n.v6.IsValid() && !p.Families.Has(IPv6Unicast) {
		n.v6 = netip.IPv6Unspecified()
	}
	if n.v4.IsValid() && n.v6.IsValid() {
		return n, nil
	}
	others, err := addressesBeside(local)
	if err != nil {
		return n, err
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
