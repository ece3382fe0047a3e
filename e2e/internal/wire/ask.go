// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// Namespace is where the host's interface is.
type Namespace interface {
	// Enter calls fn on a thread inside the namespace.
	Enter(fn func() error) error
}

// WhoHas asks once for the hardware address of addr (RFC 826; RFC 4861 section 7.2.2)
// and returns every different answer that arrives within wait, in order.
func WhoHas(ns Namespace, ifname string, addr netip.Addr, wait time.Duration) ([]string, error) {
	ask := solicit
	if addr.Is4() {
		ask = request
	}
	var macs []string
	err := ns.Enter(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		macs, err = ask(ifi, addr, time.Now().Add(wait))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for %s on %s: %w", addr, ifname, err)
	}
	slices.Sort(macs)
	return slices.Compact(macs), nil
}

// request broadcasts an ARP request and collects the replies.
func request(ifi *net.Interface, addr netip.Addr, until time.Time) ([]string, error) {
	c, err := arp.Dial(ifi)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(until); err != nil {
		return nil, err
	}
	if err := c.Request(addr); err != nil {
		return nil, err
	}
	return collect(func() (mac string, ok bool, err error) {
		p, _, err := c.Read()
		if err != nil {
			return "", false, err
		}
		return p.SenderHardwareAddr.String(), p.Operation == arp.OperationReply && p.SenderIP == addr, nil
	})
}

// solicit multicasts a neighbour solicitation and collects the advertisements.
func solicit(ifi *net.Interface, addr netip.Addr, until time.Time) ([]string, error) {
	c, _, err := ndp.Listen(ifi, ndp.LinkLocal)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(until); err != nil {
		return nil, err
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, err
	}
	question := &ndp.NeighborSolicitation{
		TargetAddress: addr,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: ifi.HardwareAddr}},
	}
	if err := c.WriteTo(question, nil, group); err != nil {
		return nil, err
	}
	return collect(func() (mac string, ok bool, err error) {
		m, _, _, err := c.ReadFrom()
		if err != nil {
			return "", false, err
		}
		na, ok := m.(*ndp.NeighborAdvertisement)
		if !ok || na.TargetAddress != addr {
			return "", false, nil
		}
		mac = targetLinkLayer(na).String()
		return mac, mac != "", nil
	})
}

// collect reads until the deadline and returns what was ok. What does not parse is
// somebody else's traffic.
func collect(read func() (mac string, ok bool, err error)) ([]string, error) {
	var macs []string
	for {
		mac, ok, err := read()
		var netErr net.Error
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return macs, nil
		case errors.As(err, &netErr):
			return nil, err
		case ok:
			macs = append(macs, mac)
		}
	}
}
