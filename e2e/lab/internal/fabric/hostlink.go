// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// HostLink is the one link from the lab to the machine it runs on: it lets a
// kubectl outside reach the API server. It is a /30 of the range that RFC 2544
// sets aside for test beds.
type HostLink struct {
	// Name of the interface in the machine's own namespace.
	Name string
	// Prefix is the network: its first address is the machine's, its second the
	// control plane's.
	Prefix netip.Prefix
}

// hostLinkInside is the name of the control plane's end.
const hostLinkInside = "host0"

// Inside returns the control plane's address.
func (l HostLink) Inside() netip.Addr { return nth(l.Prefix, 2) }

// AddHostLink connects the control plane to the machine.
func (f *Fabric) AddHostLink(l HostLink) error {
	peer, err := os.Open(f.hosts[ControlPlane].Netns.Path())
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer peer.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.Name
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: hostLinkInside, PeerNamespace: netlink.NsFd(peer.Fd()),
	}); err != nil {
		return fmt.Errorf("add veth %s: %w", l.Name, err)
	}
	if err := f.hosts[ControlPlane].Netns.Enter(func() error {
		if err := attach(end{name: hostLinkInside}); err != nil {
			return err
		}
		return assign(hostLinkInside, netip.PrefixFrom(l.Inside(), l.Prefix.Bits()))
	}); err != nil {
		return err
	}
	if err := attach(end{name: l.Name}); err != nil {
		return err
	}
	return assign(l.Name, netip.PrefixFrom(nth(l.Prefix, 1), l.Prefix.Bits()))
}

// RemoveLink removes a link of the machine's own namespace. Absence is success.
func RemoveLink(name string) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkDel(l); err != nil {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
