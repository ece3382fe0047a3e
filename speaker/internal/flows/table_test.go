// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

var (
	nodeA, nodeB   = netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")
	nodeA6, nodeB6 = netip.MustParseAddr("2001:db8::11"), netip.MustParseAddr("2001:db8::12")
)

// leads is where addresses lead, without the time.
func (n *node) leads() map[netip.Addr]netip.Addr {
	n.t.Helper()
	m := map[netip.Addr]netip.Addr{}
	for _, e := range n.entries() {
		m[e.Address] = e.Former
	}
	return m
}

func (n *node) wantLeads(want map[netip.Addr]netip.Addr) {
	n.t.Helper()
	got := n.leads()
	if maps.Equal(want, got) { // cmp needs seconds for tens of thousands
		return
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		n.t.Fatalf("entries (-want +got)\n%s", diff)
	}
}

// addresses returns n addresses of each family that lead to the given nodes.
func addresses(n int, former4, former6 netip.Addr) map[netip.Addr]netip.Addr {
	m := make(map[netip.Addr]netip.Addr, 2*n)
	for i := range n {
		four := binary.BigEndian.AppendUint32(nil, 0x0a000001+uint32(i))
		six := append(netip.MustParseAddr("2001:db8:1::").AsSlice()[:12], four...)
		for _, b := range [][]byte{four, six} {
			a, _ := netip.AddrFromSlice(b)
			m[a] = former4
			if a.Is6() {
				m[a] = former6
			}
		}
	}
	return m
}

// only4 leaves IPv4 addresses.
func only4(m map[netip.Addr]netip.Addr) map[netip.Addr]netip.Addr {
	maps.DeleteFunc(m, func(a, _ netip.Addr) bool { return a.Is6() })
	return m
}

func keep(m map[netip.Addr]netip.Addr, d time.Duration) func(*flows.Table) error {
	return func(t *flows.Table) error { return t.Keep(m, d) }
}

// Nothing is there that packets would have to pass, until it is needed, and then
// no longer than that. Tables of others are left alone.
func TestTablesComeAndGo(t *testing.T) {
	n := newNode(t)
	run(t, n.Namespace, "add table ip theirs; add chain ip theirs c { type filter hook prerouting priority -150; }", "nft", "-f", "-")
	before := n.rules()
	n.reopen()
	n.wantLeads(map[netip.Addr]netip.Addr{})
	if got := n.rules(); got != before {
		t.Fatalf("rules before anything is kept:\n%s", got)
	}
	n.do(keep(addresses(1, nodeA, nodeA6), time.Minute))
	once := n.rules()
	for _, want := range []string{
		before, "table ip herald", "table ip6 herald", "map former", "counter passed_on", "counter dropped",
		"type filter hook prerouting priority mangle; policy accept;",
		"dup to ip daddr map @former", "dup to ip6 daddr map @former",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("nft does not show %q in\n%s", want, once)
		}
	}
	n.do(keep(addresses(2, nodeB, nodeB6), time.Minute))
	if diff := cmp.Diff(once, n.rules()); diff != "" {
		t.Errorf("rules after Keep was called twice (-once +twice)\n%s", diff)
	}
	n.do(func(t *flows.Table) error { return t.Forget(nodeB) })
	n.do(func(t *flows.Table) error { return t.Forget(nodeB6) })
	if got := n.rules(); got != before {
		t.Errorf("rules after all is forgotten:\n%s", got)
	}
}

func TestKeepReplaces(t *testing.T) {
	n := newNode(t)
	a, b := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")
	left := func(of netip.Addr) time.Duration {
		for _, e := range n.entries() {
			if e.Address == of {
				return e.Left
			}
		}
		return 0
	}
	n.do(keep(map[netip.Addr]netip.Addr{a: nodeA, b: nodeA}, time.Hour))
	n.do(keep(map[netip.Addr]netip.Addr{a: nodeA}, time.Minute))
	if got := left(a); got > time.Minute || got < time.Minute/2 {
		t.Errorf("%s are left after one minute was given", got)
	}
	n.reopen() // what was there before is replaced as well
	n.do(keep(map[netip.Addr]netip.Addr{a: nodeB}, 2*time.Hour))
	if got := left(a); got < time.Hour {
		t.Errorf("%s are left after two hours were given", got)
	}
	n.reopen()
	n.do(keep(map[netip.Addr]netip.Addr{a: nodeB}, 3*time.Hour)) // to the same node
	if got := left(a); got < 2*time.Hour {
		t.Errorf("%s are left after three hours were given", got)
	}
	if got := left(b); got < time.Hour/2 || got > time.Hour {
		t.Errorf("%s are left of the hour of an address that was not given again", got)
	}
	n.wantLeads(map[netip.Addr]netip.Addr{a: nodeB, b: nodeA})
}

func TestForgetAndRemove(t *testing.T) {
	n := newNode(t)
	a := netip.MustParseAddr
	n.do(keep(map[netip.Addr]netip.Addr{
		a("192.0.2.100"): nodeA, a("192.0.2.101"): nodeB, a("192.0.2.102"): nodeB,
		a("2001:db8::100"): nodeA6, a("2001:db8::101"): nodeB6,
	}, time.Minute))
	n.do(func(t *flows.Table) error { return t.Forget(a("::ffff:192.0.2.11")) })
	n.do(func(t *flows.Table) error { return t.Forget(a("2001:db8::11%eth0")) })
	n.wantLeads(map[netip.Addr]netip.Addr{
		a("192.0.2.101"): nodeB, a("192.0.2.102"): nodeB, a("2001:db8::101"): nodeB6,
	})
	n.do(func(t *flows.Table) error {
		return t.Remove(a("192.0.2.100"), a("192.0.2.101"), a("2001:db8::101"), netip.Addr{})
	})
	n.wantLeads(map[netip.Addr]netip.Addr{a("192.0.2.102"): nodeB})
	n.do(func(t *flows.Table) error { return t.Remove() })
	n.wantLeads(map[netip.Addr]netip.Addr{a("192.0.2.102"): nodeB})
}

// More than one message, and more than one transaction.
func TestManyEntries(t *testing.T) {
	const many = 10_500
	n := newNode(t)
	want := only4(addresses(many, nodeA, nodeA6))
	n.do(keep(want, time.Hour))
	n.wantLeads(want)
	half := only4(addresses(many/2, nodeB, nodeB6))
	n.do(keep(half, time.Hour))
	maps.Copy(want, half)
	n.wantLeads(want)
	n.do(func(t *flows.Table) error { return t.Forget(nodeA) })
	n.wantLeads(half)
	six := addresses(1500, nodeB, nodeB6) // longer ones
	n.do(keep(six, time.Hour))
	n.do(keep(six, time.Hour))
	maps.Copy(half, six)
	n.wantLeads(half)
}

// An entry may expire between the moment it is listed and its replacement; and while
// the kernel clears away what has expired, its lists lack entries.
func TestKeepRacesWithExpiry(t *testing.T) {
	n := newNode(t)
	m := addresses(200, nodeA, nodeA6)
	for i := range 50 {
		n.do(keep(m, time.Duration(1+i%5)*time.Millisecond))
	}
	n.do(keep(m, time.Minute))
	n.wantLeads(m)
}

func TestConcurrentUse(t *testing.T) {
	n := newNode(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 10 {
				calls := []func(*flows.Table) error{
					keep(addresses(50, nodeA, nodeA6), time.Minute),
					keep(addresses(60, nodeB, nodeB6), time.Minute),
					func(t *flows.Table) error { return t.Forget(nodeA) },
					func(t *flows.Table) error { _, err := t.Entries(); return err },
				}
				if err := n.Enter(func() error { return calls[i%len(calls)](n.flows) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	n.do(keep(addresses(60, nodeB, nodeB6), time.Minute))
	n.wantLeads(addresses(60, nodeB, nodeB6))
}

// A valid pair is done although another one is not valid.
func TestKeepNamesWhatCannotBe(t *testing.T) {
	n := newNode(t)
	a := netip.MustParseAddr
	err := n.Enter(func() error {
		return n.flows.Keep(map[netip.Addr]netip.Addr{a("192.0.2.100"): nodeA6, a("192.0.2.101"): nodeA}, time.Minute)
	})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.100") || strings.Contains(err.Error(), "192.0.2.101") {
		t.Errorf("got %v, want an error about 192.0.2.100", err)
	}
	n.wantLeads(map[netip.Addr]netip.Addr{a("192.0.2.101"): nodeA})
	for _, d := range []time.Duration{0, -time.Second, time.Microsecond} {
		if err := n.Enter(func() error { return n.flows.Keep(nil, d) }); err == nil {
			t.Errorf("%s: no error", d)
		}
	}
}

// A table of our name that we have not made so is replaced.
func TestTableOfAnotherMake(t *testing.T) {
	n := newNode(t)
	for _, family := range []string{"ip", "ip6"} {
		run(t, n.Namespace, "table "+family+` herald {
			map former { type inet_service : inet_service; elements = { 80 : 81 }; }
			chain prerouting { type nat hook prerouting priority -100; }
		}`, "nft", "-f", "-")
	}
	n.do(keep(addresses(1, nodeA, nodeA6), time.Minute))
	n.wantLeads(addresses(1, nodeA, nodeA6))
}

func TestWithoutPrivilege(t *testing.T) {
	linktest.Require(t)
	err := linktest.WithCapabilities(func() error {
		_, err := flows.Open()
		return err
	})
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("got %v, want that the capability NET_ADMIN is missing", err)
	}
	err = linktest.WithCapabilities(func() error {
		table, err := flows.Open()
		if err != nil {
			return err
		}
		if err := table.Keep(addresses(10, nodeA, nodeA6), time.Minute); err != nil {
			return err
		}
		return errors.Join(table.Forget(nodeA), table.Forget(nodeA6), table.Close())
	}, unix.CAP_NET_ADMIN)
	if err != nil {
		t.Errorf("with this capability alone: %v", err)
	}
}
