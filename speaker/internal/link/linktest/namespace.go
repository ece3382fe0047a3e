// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace. It goes away with its test.
type Namespace struct {
	file   *os.File
	handle *netlink.Handle
}

// Host returns the namespace that the test process runs in. It skips the test
// if that is not its own.
func Host(t testing.TB) *Namespace {
	t.Helper()
	Require(t)
	return open(t, func() error { return nil })
}

// New returns a new, empty namespace.
func New(t testing.TB) *Namespace {
	t.Helper()
	Require(t)
	return open(t, func() error { return unix.Unshare(unix.CLONE_NEWNET) })
}

// open enters a namespace on a thread of its own and keeps it by a file.
func open(t testing.TB, enter func() error) *Namespace {
	t.Helper()
	n := &Namespace{}
	err := onThread(func() (err error) {
		if err := enter(); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		n.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.handle.Close()
		_ = n.file.Close()
	})
	// Addresses are to be usable at once, unless a test wants to see detection.
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.Sysctl(t, "net/ipv6/conf/all/accept_dad", "0")
	return n
}

// Enter calls fn on a thread inside the namespace. Sockets that fn opens stay in
// it; goroutines that fn starts do not run in it.
func (n *Namespace) Enter(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// onThread calls fn on a thread that ends with it, whatever fn did to it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- fn()
	}()
	return <-done
}

// Sysctl writes a setting, named by its path below /proc/sys.
func (n *Namespace) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	err := n.Enter(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o600) })
	if err != nil {
		t.Fatalf("set %s to %s: %v", name, value, err)
	}
}

// Veth connects n and peer by a pair of links with the given names and sets both
// up. The pair is removed with the test.
func (n *Namespace) Veth(t testing.TB, name string, peer *Namespace, peerName string) {
	t.Helper()
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, TxQLen: -1},
		PeerName:      peerName,
		PeerNamespace: netlink.NsFd(peer.file.Fd()),
	}
	must(t, "add veth pair "+name, n.handle.LinkAdd(pair))
	t.Cleanup(func() {
		if l, err := n.handle.LinkByName(name); err == nil {
			_ = n.handle.LinkDel(l)
		}
	})
	n.Up(t, name)
	peer.Up(t, peerName)
}

// Up sets a link up.
func (n *Namespace) Up(t testing.TB, name string) {
	t.Helper()
	must(t, "set "+name+" up", n.handle.LinkSetUp(n.link(t, name)))
}

// Down sets a link down.
func (n *Namespace) Down(t testing.TB, name string) {
	t.Helper()
	must(t, "set "+name+" down", n.handle.LinkSetDown(n.link(t, name)))
}

// Delete removes a link.
func (n *Namespace) Delete(t testing.TB, name string) {
	t.Helper()
	must(t, "delete "+name, n.handle.LinkDel(n.link(t, name)))
}

// SetMAC changes the hardware address of a link.
func (n *Namespace) SetMAC(t testing.TB, name string, mac [6]byte) {
	t.Helper()
	must(t, "set hardware address of "+name, n.handle.LinkSetHardwareAddr(n.link(t, name), mac[:]))
}

// Bridge adds a bridge and sets it up. It is removed with the test.
func (n *Namespace) Bridge(t testing.TB, name string) {
	t.Helper()
	must(t, "add bridge "+name, n.handle.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	t.Cleanup(func() {
		if l, err := n.handle.LinkByName(name); err == nil {
			_ = n.handle.LinkDel(l)
		}
	})
	n.Up(t, name)
}

// Enslave makes a link a port of a bridge; an empty bridge sets it free.
func (n *Namespace) Enslave(t testing.TB, name, bridge string) {
	t.Helper()
	master := 0
	if bridge != "" {
		master = n.link(t, bridge).Attrs().Index
	}
	must(t, "set master of "+name, n.handle.LinkSetMasterByIndex(n.link(t, name), master))
}

// AddAddress gives a link an address.
func (n *Namespace) AddAddress(t testing.TB, name, prefix string) {
	t.Helper()
	must(t, "add "+prefix+" to "+name, n.handle.AddrAdd(n.link(t, name), address(t, prefix)))
}

// RemoveAddress takes an address from a link.
func (n *Namespace) RemoveAddress(t testing.TB, name, prefix string) {
	t.Helper()
	must(t, "remove "+prefix+" from "+name, n.handle.AddrDel(n.link(t, name), address(t, prefix)))
}

// Index is the number of a link.
func (n *Namespace) Index(t testing.TB, name string) int {
	t.Helper()
	return n.link(t, name).Attrs().Index
}

// MAC is the hardware address of a link.
func (n *Namespace) MAC(t testing.TB, name string) [6]byte {
	t.Helper()
	return [6]byte(n.link(t, name).Attrs().HardwareAddr)
}

func (n *Namespace) link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := n.handle.LinkByName(name)
	if err != nil {
		t.Fatalf("find link %s: %v", name, err)
	}
	return l
}

func address(t testing.TB, prefix string) *netlink.Addr {
	t.Helper()
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
