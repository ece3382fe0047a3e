// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

const (
	patience = 10 * time.Second // for what has to happen
	port     = 80               // of the Service
)

// lan is the addresses of a world in one family.
type lan struct {
	service netip.Addr
	host    string // format of the address of the host with a number, on the LAN
	pod     string // format of the address of end 1 (node) or 2 (pod) of a node's pod link
	bits    int
	nft     string // the family in nft's words
	ip      string // option of ip(8)
}

var (
	lan4 = lan{netip.MustParseAddr("192.0.2.100"), "192.0.2.%d", "10.244.%d.%d", 24, "ip", "-4"}
	lan6 = lan{netip.MustParseAddr("2001:db8::100"), "2001:db8::%d", "fd00:%d::%d", 64, "ip6", "-6"}
)

// world is a client and three nodes on a bridge. Behind each node is a pod that
// serves, and rules as kube-proxy makes them: the Service's address is translated
// to the pod's, and the client is masqueraded.
type world struct {
	lan
	t       testing.TB
	client  *linktest.Namespace
	a, b, c *node
}

type node struct {
	*linktest.Namespace
	lan
	t       testing.TB
	name    string
	address netip.Addr
	flows   *flows.Table
}

func newWorld(t testing.TB, l lan) *world {
	t.Helper()
	bridge := linktest.New(t)
	bridge.Bridge(t, "br0")
	join := func(n *linktest.Namespace, number int) netip.Addr {
		port := fmt.Sprintf("port%d", number)
		bridge.Veth(t, port, n, "eth0")
		bridge.Enslave(t, port, "br0")
		address := netip.MustParseAddr(fmt.Sprintf(l.host, number))
		n.AddAddress(t, "eth0", fmt.Sprintf("%s/%d", address, l.bits))
		return address
	}
	w := &world{lan: l, t: t, client: linktest.New(t)}
	join(w.client, 9)
	serving := func(name string, number int) *node {
		n := newNode(t)
		n.lan, n.name, n.address = l, name, join(n.Namespace, number)
		n.proxy(number)
		return n
	}
	w.a, w.b, w.c = serving("A", 11), serving("B", 12), serving("C", 13)
	return w
}

// newNode returns a node that is connected to nothing.
func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{Namespace: linktest.New(t), t: t}
	n.reopen()
	return n
}

// proxy starts a pod and translates the Service's address to it.
func (n *node) proxy(number int) {
	n.t.Helper()
	pod := linktest.New(n.t)
	n.Veth(n.t, "pod0", pod, "eth0")
	gateway, address := fmt.Sprintf(n.pod, number, 1), fmt.Sprintf(n.pod, number, 2)
	n.AddAddress(n.t, "pod0", fmt.Sprintf("%s/%d", gateway, n.bits))
	pod.AddAddress(n.t, "eth0", fmt.Sprintf("%s/%d", address, n.bits))
	run(n.t, pod, "", "ip", n.ip, "route", "add", "default", "via", gateway)
	n.Sysctl(n.t, "net/ipv4/ip_forward", "1")
	n.Sysctl(n.t, "net/ipv6/conf/all/forwarding", "1")
	at := netip.AddrPortFrom(netip.MustParseAddr(address), 8080)
	run(n.t, n.Namespace, fmt.Sprintf(`table %s kube-proxy {
		chain prerouting { type nat hook prerouting priority dstnat
			%s daddr %s tcp dport %d dnat to %s
		}
		chain postrouting { type nat hook postrouting priority srcnat
			oifname pod0 masquerade
		}
	}`, n.nft, n.nft, n.service, port, at), "nft", "-f", "-")
	serve(n.t, pod, at, n.name)
}

// reopen is what a new process does.
func (n *node) reopen() {
	n.t.Helper()
	must(n.t, n.Enter(func() (err error) {
		n.flows, err = flows.Open()
		return err
	}))
	n.t.Cleanup(func() { must(n.t, n.flows.Close()) })
}

// do calls fn in the node's namespace and fails the test if it does.
func (n *node) do(fn func(*flows.Table) error) {
	n.t.Helper()
	must(n.t, n.Enter(func() error { return fn(n.flows) }))
}

// keep has connections to the Service that n does not know go to former.
func (n *node) keep(former *node, d time.Duration) {
	n.t.Helper()
	n.do(func(t *flows.Table) error {
		return t.Keep(map[netip.Addr]netip.Addr{n.service: former.address}, d)
	})
}

func (n *node) entries() (all []flows.Entry) {
	n.t.Helper()
	n.do(func(t *flows.Table) (err error) {
		all, err = t.Entries()
		return err
	})
	return all
}

func (n *node) count() (c flows.Count) {
	n.t.Helper()
	n.do(func(t *flows.Table) (err error) {
		c, err = t.Count()
		return err
	})
	return c
}

// rules is what nft shows, without entries.
func (n *node) rules() string {
	n.t.Helper()
	return run(n.t, n.Namespace, "", "nft", "--terse", "list", "ruleset")
}

// move lets the client find the address at another node.
func (w *world) move(to *node) {
	w.t.Helper()
	mac := net.HardwareAddr(func() []byte { m := to.MAC(w.t, "eth0"); return m[:] }())
	run(w.t, w.client, "", "ip", "neigh", "replace", w.service.String(), "lladdr", mac.String(), "dev", "eth0", "nud", "permanent")
}

// run runs a program in a namespace and returns what it prints.
func run(t testing.TB, n *linktest.Namespace, input string, program ...string) string {
	t.Helper()
	var out []byte
	err := n.Enter(func() (err error) {
		cmd := exec.Command(program[0], program[1:]...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(program, " "), err, out)
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inBothFamilies runs a test over IPv4 and over IPv6.
func inBothFamilies(t *testing.T, test func(t *testing.T, w *world)) {
	for name, l := range map[string]lan{"IPv4": lan4, "IPv6": lan6} {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, l)) })
	}
}
