// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// States of a neighbor entry (RFC 4861, section 7.3.2).
const (
	Incomplete = netlink.NUD_INCOMPLETE
	Reachable  = netlink.NUD_REACHABLE
	Stale      = netlink.NUD_STALE
	Delay      = netlink.NUD_DELAY
	Probe      = netlink.NUD_PROBE
	Failed     = netlink.NUD_FAILED
)

// Neighbor is what a kernel knows of an address on a link.
type Neighbor struct {
	MAC   [6]byte
	State int
}

// Neighbor returns the kernel's entry; the zero value if there is none.
func (n *Namespace) Neighbor(t testing.TB, name string, a netip.Addr) Neighbor {
	t.Helper()
	entries, err := n.handle.NeighList(n.link(t, name).Attrs().Index, family(a))
	if err != nil {
		t.Fatalf("list neighbors on %s: %v", name, err)
	}
	for _, e := range entries {
		got, _ := netip.AddrFromSlice(e.IP)
		if got.Unmap() != a {
			continue
		}
		found := Neighbor{State: e.State}
		if len(e.HardwareAddr) == len(found.MAC) {
			found.MAC = [6]byte(e.HardwareAddr)
		}
		return found
	}
	return Neighbor{}
}

// ProbeNeighbor makes the kernel probe an entry that it has, by unicast, as
// neighbor unreachability detection would when traffic meets a stale entry.
func (n *Namespace) ProbeNeighbor(t testing.TB, name string, a netip.Addr) {
	t.Helper()
	entry := n.Neighbor(t, name, a)
	err := n.handle.NeighSet(&netlink.Neigh{
		LinkIndex: n.link(t, name).Attrs().Index, Family: family(a), State: netlink.NUD_PROBE,
		IP: net.IP(a.AsSlice()), HardwareAddr: entry.MAC[:],
	})
	must(t, "probe neighbor", err)
}

// Resolve makes the kernel look for a neighbor by sending it a datagram, and
// returns the entry once it is reachable.
func (n *Namespace) Resolve(t testing.TB, name string, a netip.Addr) Neighbor {
	t.Helper()
	err := n.Enter(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
	must(t, "send to "+a.String(), err)
	return n.AwaitNeighbor(t, name, a, Reachable)
}

// AwaitNeighbor returns the entry once it is in the given state.
func (n *Namespace) AwaitNeighbor(t testing.TB, name string, a netip.Addr, state int) Neighbor {
	t.Helper()
	var last Neighbor
	Await(t, func() bool {
		last = n.Neighbor(t, name, a)
		return last.State == state
	}, func() { t.Logf("neighbor %s on %s: %+v, want state %#x", a, name, last, state) })
	return last
}

// Await polls until done is true. After ten seconds it calls explain and fails
// the test. It is for what the kernel does not announce by an event.
func Await(t testing.TB, done func() bool, explain func()) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			explain()
			t.Fatal("it did not happen within 10 s")
		}
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// DuplicateFound says whether duplicate address detection has failed for an
// address of a link.
func (n *Namespace) DuplicateFound(t testing.TB, name string, a netip.Addr) bool {
	t.Helper()
	all, err := n.handle.AddrList(n.link(t, name), family(a))
	must(t, "list addresses of "+name, err)
	for _, entry := range all {
		if got, _ := netip.AddrFromSlice(entry.IP); got == a {
			return entry.Flags&unix.IFA_F_DADFAILED != 0
		}
	}
	return false
}
