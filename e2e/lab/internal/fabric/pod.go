// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

// AddPod makes a pod's namespace and connects it to its node the way the usual
// point-to-point CNI plug-ins do: the node routes each pod address to the pod's
// own veth, the pod sends everything to the node's gateway address, which all
// veths share.
//
//	pod: eth0 10.244.1.5/32, default via 10.244.1.1 --- vethX: 10.244.1.1/32 :node
func AddPod(node *netns.Namespace, name, veth string, addresses, gateways []netip.Addr) (*netns.Namespace, error) {
	pod, err := netns.Create(name)
	if err != nil {
		return nil, err
	}
	if err := connectPod(node, pod, veth, addresses, gateways); err != nil {
		return nil, errors.Join(fmt.Errorf("connect pod %s: %w", name, err), pod.Remove())
	}
	return pod, nil
}

func connectPod(node, pod *netns.Namespace, veth string, addresses, gateways []netip.Addr) error {
	if err := pod.Enter(func() error { return writeSysctls(endHostSysctls()) }); err != nil {
		return err
	}
	outer := end{ns: node, name: veth, mac: macFor(veth, "node")}
	inner := end{ns: pod, name: "eth0", mac: macFor(veth, "pod")}
	if err := addVeth(outer, inner, 1500); err != nil {
		return err
	}
	if err := node.Enter(func() error {
		if err := assign(veth, hostPrefixes(gateways)...); err != nil {
			return err
		}
		return routeAll(veth, addresses)
	}); err != nil {
		return err
	}
	return pod.Enter(func() error {
		if err := assign("eth0", hostPrefixes(addresses)...); err != nil {
			return err
		}
		if err := routeAll("eth0", gateways); err != nil {
			return err
		}
		for _, gateway := range gateways {
			if err := addDefault("eth0", gateway); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemovePod takes the pod's veth and namespace away. Absence is success.
func RemovePod(node *netns.Namespace, pod *netns.Namespace, veth string) error {
	err := node.Enter(func() error {
		l, err := netlink.LinkByName(veth)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find link %s: %w", veth, err)
		}
		return netlink.LinkDel(l)
	})
	return errors.Join(err, pod.Remove())
}

func hostPrefixes(addresses []netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		prefixes[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return prefixes
}

// routeAll makes addresses reachable on an interface.
func routeAll(name string, addresses []netip.Addr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for _, p := range hostPrefixes(addresses) {
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(p), Scope: netlink.SCOPE_LINK}
		if p.Addr().Is6() {
			route.Scope = netlink.SCOPE_UNIVERSE
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("add route to %s on %s: %w", p, name, err)
		}
	}
	return nil
}
