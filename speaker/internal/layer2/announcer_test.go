// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/layer2/layer2test"
)

var (
	lb4  = netip.MustParseAddr("192.0.2.100")
	lb6  = netip.MustParseAddr("2001:db8::100")
	eth0 = layer2.Interface{Index: 2, Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Up: true, ARP: true, LinkLocal6: netip.MustParseAddr("fe80::1")}
	eth1 = layer2.Interface{Index: 3, Name: "eth1", MAC: [6]byte{2, 0, 0, 0, 0, 2}, Up: true, ARP: true, LinkLocal6: netip.MustParseAddr("fe80::2")}
)

// fixture is an Announcer that runs in a synctest bubble.
type fixture struct {
	*layer2.Announcer
	t       *testing.T
	network *layer2test.Network
	logs    *strings.Builder
}

// bubble runs test with an Announcer that is running and settled.
func bubble(t *testing.T, o layer2.Options, test func(f fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := fixture{t: t, network: new(layer2test.Network), logs: new(strings.Builder)}
		o.Log = slog.New(slog.NewTextHandler(f.logs, nil))
		o.Network = f.network
		f.Announcer = layer2.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		test(f)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := f.network; n.IsOpen(layer2.ARP, 2) || n.IsOpen(layer2.NDP, 2) || len(n.Groups(2)) > 0 {
			t.Error("Run leaves sockets or memberships behind")
		}
	})
}

func (f fixture) announce(addresses ...netip.Addr) {
	f.t.Helper()
	for _, a := range addresses {
		if err := f.Announce(layer2.Announcement{Address: a}); err != nil {
			f.t.Fatal(err)
		}
	}
	synctest.Wait()
}

func (f fixture) follow(interfaces ...layer2.Interface) {
	f.Follow(interfaces)
	synctest.Wait()
}

// sent returns how many frames have been sent since the last call, by interface
// and protocol.
func (f fixture) sent() map[string]int {
	synctest.Wait()
	count := make(map[string]int)
	for _, frame := range f.network.Take() {
		count[[]string{2: "eth0", 3: "eth1"}[frame.Index]+" "+frame.Protocol.String()]++
	}
	return count
}

func (f fixture) wantSent(what string, want map[string]int) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.sent()); diff != "" {
		f.t.Errorf("%s: frames sent (-want +got):\n%s", what, diff)
	}
}

func TestAnnounceSendsABurstOnEachInterface(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0, eth1)
		f.wantSent("nothing is announced", map[string]int{})
		f.announce(lb4, lb6)
		round := map[string]int{"eth0 arp": 2, "eth0 ndp": 1, "eth1 arp": 2, "eth1 ndp": 1}
		f.wantSent("at once", round)
		f.announce(lb4, lb6)
		f.wantSent("announced again by the caller", map[string]int{})
		time.Sleep(200 * time.Millisecond)
		f.wantSent("after 0.2 s", round)
		time.Sleep(time.Second)
		f.wantSent("after 1.2 s", round)
		time.Sleep(time.Second)
		f.wantSent("after 2.2 s", round)
		time.Sleep(time.Second)
		f.wantSent("after 3.2 s", map[string]int{})
		time.Sleep(layer2.DefaultRefresh)
		f.wantSent("in the first refresh interval", round)
		time.Sleep(layer2.DefaultRefresh)
		f.wantSent("in the second refresh interval", round)
		f.Withdraw(lb4)
		f.Withdraw(lb6)
		f.Withdraw(lb6)
		f.sent()
		time.Sleep(2 * layer2.DefaultRefresh)
		f.wantSent("after the withdrawal", map[string]int{})
	})
}

func TestInterfacesOfAnAnnouncement(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0, eth1)
		on := func(names ...string) {
			t.Helper()
			if err := f.Announce(layer2.Announcement{Address: lb4, Interfaces: names}); err != nil {
				t.Fatal(err)
			}
		}
		on("eth1", "eth9")
		f.wantSent("on eth1 only", map[string]int{"eth1 arp": 2})
		on("eth0")
		f.wantSent("moved to eth0", map[string]int{"eth0 arp": 2})
		on("eth0", "eth1")
		f.wantSent("on eth1 as well", map[string]int{"eth1 arp": 2})
		on()
		f.wantSent("on all, which are the same two", map[string]int{})
	})
}

func TestUnusableAddresses(t *testing.T) {
	a := layer2.New(layer2.Options{Log: slog.New(slog.DiscardHandler)})
	for _, s := range []string{"0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1"} {
		if err := a.Announce(layer2.Announcement{Address: netip.MustParseAddr(s)}); err == nil {
			t.Errorf("%s is announced", s)
		}
	}
	if err := a.Announce(layer2.Announcement{}); err == nil {
		t.Error("no address is announced")
	}
	a.Withdraw(netip.Addr{})
}

// What is one address must be so however it is written.
func TestAddressesAreNormalised(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0)
		f.announce(netip.MustParseAddr("::ffff:192.0.2.100"))
		f.wantSent("a mapped address", map[string]int{"eth0 arp": 2})
		f.announce(lb4)
		f.wantSent("the same one", map[string]int{})
		f.Withdraw(netip.MustParseAddr("::ffff:192.0.2.100"))
		f.announce(lb4)
		f.wantSent("withdrawn and announced", map[string]int{})
	})
}

func TestChangesOfAnInterface(t *testing.T) {
	with := func(change func(i *layer2.Interface)) layer2.Interface {
		i := eth0
		change(&i)
		return i
	}
	both, arp, ndp := map[string]int{"eth0 arp": 2, "eth0 ndp": 1}, map[string]int{"eth0 arp": 2}, map[string]int{"eth0 ndp": 1}
	tests := []struct {
		name          string
		before, after []layer2.Interface
		want          map[string]int // announced upon the change
	}{
		{"nothing changed", []layer2.Interface{eth0}, []layer2.Interface{eth0}, map[string]int{}},
		{"came", nil, []layer2.Interface{eth0}, both},
		{"went", []layer2.Interface{eth0}, nil, map[string]int{}},
		{"another one came", []layer2.Interface{eth1}, []layer2.Interface{eth0, eth1}, both},
		{"came up", []layer2.Interface{with(func(i *layer2.Interface) { i.Up = false })}, []layer2.Interface{eth0}, both},
		{"held no longer", []layer2.Interface{with(func(i *layer2.Interface) { i.Held = true })}, []layer2.Interface{eth0}, both},
		{"flapped", []layer2.Interface{eth0}, []layer2.Interface{with(func(i *layer2.Interface) { i.Ups++ })}, both},
		{"hardware address", []layer2.Interface{eth0}, []layer2.Interface{with(func(i *layer2.Interface) { i.MAC[5] = 99 })}, both},
		{"link-local address came", []layer2.Interface{with(func(i *layer2.Interface) { i.LinkLocal6 = netip.Addr{} })}, []layer2.Interface{eth0}, ndp},
		{"link-local address changed", []layer2.Interface{with(func(i *layer2.Interface) { i.LinkLocal6 = netip.MustParseAddr("fe80::7") })}, []layer2.Interface{eth0}, ndp},
		{"ARP turned on", []layer2.Interface{with(func(i *layer2.Interface) { i.ARP = false })}, []layer2.Interface{eth0}, arp},
		{"left a bond", []layer2.Interface{with(func(i *layer2.Interface) { i.Master = true })}, []layer2.Interface{eth0}, both},
		{"renamed", []layer2.Interface{with(func(i *layer2.Interface) { i.Name = "eth9" })}, []layer2.Interface{eth0}, both},
		{"became Ethernet", []layer2.Interface{with(func(i *layer2.Interface) { i.MAC = [6]byte{} })}, []layer2.Interface{eth0}, both},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, layer2.Options{}, func(f fixture) {
				f.announce(lb4, lb6)
				f.follow(tt.before...)
				time.Sleep(500 * time.Millisecond)
				f.sent()
				f.follow(tt.after...)
				f.wantSent("upon the change", tt.want)
				attached := len(tt.after) > 0
				if open := f.network.IsOpen(layer2.ARP, 2) && f.network.IsOpen(layer2.NDP, 2); open != attached {
					t.Errorf("sockets are open: %v, want %v", open, attached)
				}
			})
		})
	}
}

func TestGroupsAreShared(t *testing.T) {
	twin := netip.MustParseAddr("2001:db8:1::100") // ends like lb6
	group := netip.MustParseAddr("ff02::1:ff00:100")
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0)
		f.announce(lb6, twin)
		want := func(what string, groups ...netip.Addr) {
			t.Helper()
			synctest.Wait()
			if got := f.network.Groups(2); !slices.Equal(got, groups) {
				t.Errorf("%s: groups %v, want %v", what, got, groups)
			}
		}
		want("two addresses", group)
		f.Withdraw(lb6)
		want("one withdrawn", group)
		flapped := eth0
		flapped.Ups++
		f.follow(flapped)
		want("after a flap", group)
		f.Withdraw(twin)
		want("both withdrawn")
	})
}

// An address whose group cannot be joined is announced, and joined when it can.
func TestGroupsThatCannotBeJoined(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.network.Limit(1)
		f.follow(eth0)
		f.announce(lb6, netip.MustParseAddr("2001:db8::200"), netip.MustParseAddr("2001:db8::300"))
		f.wantSent("all are announced", map[string]int{"eth0 ndp": 3})
		if n := strings.Count(f.logs.String(), "could not be joined"); n != 1 {
			t.Errorf("%d log lines for two groups, want 1:\n%s", n, f.logs)
		}
		f.network.Limit(0)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := f.network.Groups(2); len(got) != 3 {
			t.Errorf("groups after the second round: %v", got)
		}
	})
}

// A socket that fails is opened again, and everything is announced again; the
// other interface does not notice.
func TestSocketThatFails(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.announce(lb4, lb6)
		f.follow(eth0, eth1)
		time.Sleep(10 * time.Second)
		f.sent()
		f.network.Refuse(layer2.ARP, 2, errors.New("not now"))
		f.network.Fail(layer2.ARP, 2, unix.ENETDOWN)
		time.Sleep(time.Second)
		f.wantSent("while it cannot be opened", map[string]int{})
		f.network.Refuse(layer2.ARP, 2, nil)
		time.Sleep(time.Second)
		f.wantSent("after it could", map[string]int{"eth0 arp": 4})
		if strings.Contains(f.logs.String(), "network is down") {
			t.Errorf("an interface that goes down is logged as a failure:\n%s", f.logs)
		}
		if !strings.Contains(f.logs.String(), "not now") {
			t.Errorf("the failure is not logged:\n%s", f.logs)
		}
	})
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	bubble(t, layer2.Options{Registerer: registry}, func(f fixture) {
		f.follow(eth0)
		f.announce(lb4, lb6)
		f.network.Deliver(layer2.ARP, 2, request(t, [6]byte{2, 0, 0, 0, 0, 9}, "192.0.2.9", lb4))
		synctest.Wait()
		want := `# HELP metallb_layer2_gratuitous_sent Gratuitous ARP packets and unsolicited neighbor advertisements sent, by address.
# TYPE metallb_layer2_gratuitous_sent counter
metallb_layer2_gratuitous_sent{ip="192.0.2.100"} 2
metallb_layer2_gratuitous_sent{ip="2001:db8::100"} 1
# HELP metallb_layer2_requests_received ARP requests and neighbor solicitations received for an address announced by this node.
# TYPE metallb_layer2_requests_received counter
metallb_layer2_requests_received{ip="192.0.2.100"} 1
metallb_layer2_requests_received{ip="2001:db8::100"} 0
# HELP metallb_layer2_responses_sent ARP replies and neighbor advertisements sent in answer, by address.
# TYPE metallb_layer2_responses_sent counter
metallb_layer2_responses_sent{ip="192.0.2.100"} 1
metallb_layer2_responses_sent{ip="2001:db8::100"} 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		f.Withdraw(lb4)
		if n, err := testutil.GatherAndCount(registry); err != nil || n != 3 {
			t.Errorf("%d series after one of two addresses was withdrawn, want 3 (%v)", n, err)
		}
	})
}

// Ten thousand addresses, announced one by one: cheap, and at a bounded pace.
func TestTenThousandAddresses(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0)
		begin := time.Now()
		for i := range 10_000 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if err := f.Announce(layer2.Announcement{Address: a}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		perSecond := make(map[time.Duration]int)
		seen := make(map[string]bool)
		for _, frame := range f.network.Take() {
			perSecond[frame.At.Sub(begin).Truncate(time.Second)]++
			seen[string(frame.Bytes[28:32])] = true
		}
		if len(seen) != 10_000 {
			t.Errorf("%d addresses announced within 5 s, want all", len(seen))
		}
		for second, n := range perSecond {
			if n > 5100 {
				t.Errorf("%d packets in second %v", n, second)
			}
		}
	})
}

// An address is admitted before anybody is told of it; what is not announced is no
// longer admitted a second after the last change.
func TestSocketsAdmitWhatIsAnnounced(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		other := netip.MustParseAddr("192.0.2.101")
		admitted := func(what string, want4, wantOther bool) {
			t.Helper()
			synctest.Wait()
			if got, gotOther := f.network.Admitted(layer2.ARP, 2, lb4), f.network.Admitted(layer2.ARP, 2, other); got != want4 || gotOther != wantOther {
				t.Errorf("%s: admits %s: %v, %s: %v, want %v and %v", what, lb4, got, other, gotOther, want4, wantOther)
			}
		}
		f.follow(eth0)
		f.announce(lb4)
		time.Sleep(2 * time.Second)
		admitted("an address is announced", true, false)
		f.announce(other)
		admitted("another one is announced", true, true)
		f.Withdraw(lb4)
		time.Sleep(2 * time.Second)
		admitted("the first one is withdrawn", false, true)
		f.Withdraw(other)
		time.Sleep(2 * time.Second)
		admitted("all are withdrawn", false, false)
		f.follow()
		f.follow(eth0)
		f.announce(lb4)
		admitted("the interface is back", true, true)
	})
}

// Another station that claims an address is told of, unless it is this node.
func TestClaimsAreHeard(t *testing.T) {
	var heard []layer2.Claim
	bubble(t, layer2.Options{Heard: func(c layer2.Claim) { heard = append(heard, c) }}, func(f fixture) {
		f.follow(eth0, eth1)
		f.announce(lb4)
		claim := func(mac [6]byte) {
			f.network.Deliver(layer2.ARP, 2, announcement(mac, lb4))
			synctest.Wait()
		}
		claim([6]byte{2, 9})
		claim([6]byte{2, 9})
		claim(eth1.MAC)
		time.Sleep(time.Second)
		claim([6]byte{2, 9})
		want := layer2.Claim{Address: lb4, Interface: "eth0", MAC: [6]byte{2, 9}}
		if diff := cmp.Diff([]layer2.Claim{want, want}, heard, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

// announcement is an ARP announcement in the form of a reply.
func announcement(mac [6]byte, a netip.Addr) []byte {
	ip := a.As4()
	return slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2},
		mac[:], ip[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ip[:])
}

func TestRepeat(t *testing.T) {
	bubble(t, layer2.Options{}, func(f fixture) {
		f.follow(eth0)
		f.announce(lb4, lb6)
		time.Sleep(10 * time.Second)
		f.sent()
		f.Repeat(lb4)
		f.Repeat(netip.MustParseAddr("192.0.2.101")) // nobody announces it
		f.wantSent("at once", map[string]int{"eth0 arp": 2})
		time.Sleep(10 * time.Second)
		f.wantSent("the rest of a burst", map[string]int{"eth0 arp": 6})
	})
}
