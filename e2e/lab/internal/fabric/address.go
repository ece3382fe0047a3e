// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Interfaces returns the names of the host's cables, eth0 included, in the order
// in which the topology lists them.
func (h *Host) Interfaces() []string { return h.interfaces }

// Prefixes returns the global addresses of one interface with their networks.
func (h *Host) Prefixes(name string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	err := h.Netns.Enter(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", name, err)
		}
		for _, a := range addrs {
			addr, ok := netip.AddrFromSlice(a.IP)
			if !ok || !addr.Unmap().IsGlobalUnicast() {
				continue
			}
			ones, _ := a.Mask.Size()
			prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), ones))
		}
		return nil
	})
	return prefixes, err
}

// HardwareAddr returns the MAC address of an interface.
func (h *Host) HardwareAddr(name string) (net.HardwareAddr, error) {
	var mac net.HardwareAddr
	err := h.Netns.Enter(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		mac = l.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

// AddRoute makes the namespace reach a network by way of a gateway, replacing
// what it had.
func AddRoute(ns *netns.Namespace, to netip.Prefix, via netip.Addr) error {
	return ns.Enter(func() error {
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}); err != nil {
			return fmt.Errorf("add route to %s via %s: %w", to, via, err)
		}
		return nil
	})
}
