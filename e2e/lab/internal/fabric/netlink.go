// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

// All functions here act on the network namespace of the calling thread, unless
// they are given one.

// end is one end of a veth pair.
type end struct {
	ns     *netns.Namespace
	name   string
	mac    net.HardwareAddr
	bridge string // the bridge it is a port of, if any
}

// addVeth makes a veth pair across two namespaces and sets both ends up.
func addVeth(a, b end, mtu int) error {
	peer, err := os.Open(b.ns.Path())
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer peer.Close()
	if err := a.ns.Enter(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = a.name, mtu, a.mac
		if err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:        attrs,
			PeerName:         b.name,
			PeerMTU:          uint32(mtu),
			PeerHardwareAddr: b.mac,
			PeerNamespace:    netlink.NsFd(peer.Fd()),
		}); err != nil {
			return fmt.Errorf("add veth %s: %w", a.name, err)
		}
		return attach(a)
	}); err != nil {
		return err
	}
	return b.ns.Enter(func() error { return attach(b) })
}

// attach makes an end a port of its bridge, if it has one, and sets it up.
func attach(e end) error {
	l, err := netlink.LinkByName(e.name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", e.name, err)
	}
	if e.bridge != "" {
		bridge, err := netlink.LinkByName(e.bridge)
		if err != nil {
			return fmt.Errorf("find bridge %s: %w", e.bridge, err)
		}
		if err := netlink.LinkSetMaster(l, bridge); err != nil {
			return fmt.Errorf("make %s a port of %s: %w", e.name, e.bridge, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", e.name, err)
	}
	return nil
}

// addBridge makes a bridge that is up. It floods multicast like a plain switch:
// without a querier on the link, snooping would lose neighbour solicitations. A
// zero MTU follows the ports.
func addBridge(name string, mtu int, mac net.HardwareAddr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = name, mac
	if mtu > 0 {
		attrs.MTU = mtu
	}
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// assign adds addresses to an interface, without duplicate address detection.
func assign(name string, prefixes ...netip.Prefix) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add address %s to %s: %w", p, name, err)
		}
	}
	return nil
}

// addDefault adds a default route that every other default route beats.
func addDefault(name string, gateway netip.Addr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gateway.Is6() {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	const leastPreferred = 4096
	route := &netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: ipNet(everything), Gw: gateway.AsSlice(), Priority: leastPreferred,
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add default route via %s: %w", gateway, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// writeSysctls sets kernel parameters of the calling thread's namespace.
func writeSysctls(settings map[string]string) error {
	for key, value := range settings {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s: %w", key, err)
		}
	}
	return nil
}

// endHostSysctls are what every host of the lab has. Duplicate address detection
// would make each IPv6 address wait for a second; addresses survive a link going
// down, as they do with every network configuration daemon.
func endHostSysctls() map[string]string {
	return map[string]string{
		"net.ipv6.conf.all.disable_ipv6":             "0",
		"net.ipv6.conf.default.disable_ipv6":         "0",
		"net.ipv6.conf.all.accept_dad":               "0",
		"net.ipv6.conf.default.accept_dad":           "0",
		"net.ipv6.conf.default.dad_transmits":        "0",
		"net.ipv6.conf.all.accept_ra":                "0",
		"net.ipv6.conf.default.accept_ra":            "0",
		"net.ipv6.conf.all.keep_addr_on_down":        "1",
		"net.ipv4.conf.all.rp_filter":                "0",
		"net.ipv4.conf.default.rp_filter":            "0",
		"net.ipv4.conf.all.arp_ignore":               "0",
		"net.ipv4.conf.default.arp_ignore":           "0",
		"net.ipv4.conf.all.send_redirects":           "0",
		"net.ipv4.conf.default.send_redirects":       "0",
		"net.ipv4.ping_group_range":                  "0 2147483647",
		"net.ipv6.conf.default.router_solicitations": "0",
	}
}

// nodeSysctls are what a Kubernetes node and a router have on top: they forward.
func nodeSysctls() map[string]string {
	settings := endHostSysctls()
	settings["net.ipv4.ip_forward"] = "1"
	settings["net.ipv6.conf.all.forwarding"] = "1"
	settings["net.ipv6.conf.default.forwarding"] = "1"
	return settings
}

// switchSysctls keep a switch from being a host: it has no addresses, not even
// link-local ones.
func switchSysctls() map[string]string {
	return map[string]string{
		"net.ipv6.conf.all.disable_ipv6":     "1",
		"net.ipv6.conf.default.disable_ipv6": "1",
	}
}
