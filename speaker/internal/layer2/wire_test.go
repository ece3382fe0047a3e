// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

var clientMAC = [6]byte{2, 0, 0, 0, 0, 9}

func TestRequestsAreAnswered(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w world) {
		w.announce(t, lb4, lb6)
		w.askBoth(t)
		w.Withdraw(lb4)
		other := netip.MustParseAddr("192.0.2.101")
		w.announce(t, other)
		w.drain()
		w.send(request(t, clientMAC, "192.0.2.9", lb4))
		w.send(request(t, clientMAC, "192.0.2.9", other))
		deadline := time.After(patience)
		for { // requests are answered in order
			select {
			case f := <-w.frames:
				c, ok := readClaim(f)
				if ok && c.answer && c.address == lb4 {
					t.Fatal("a withdrawn address is answered for")
				}
				if ok && c.answer && c.address == other {
					return
				}
			case <-deadline:
				t.Fatal("no answer")
			}
		}
	})
}

// A frame that nobody should send is no reason to stop.
func TestMalformedFramesStopNothing(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w world) {
		w.announce(t, lb4, lb6)
		random := rand.New(rand.NewPCG(1, 2))
		good := [][]byte{request(t, clientMAC, "192.0.2.9", lb4), solicitation(t, clientMAC, "fe80::9", lb6)}
		for i := range 5000 {
			frame := slices.Clone(good[i%2])
			switch random.IntN(3) {
			case 0:
				frame = frame[:14+random.IntN(len(frame)-14)]
			case 1:
				frame[14+random.IntN(len(frame)-14)] ^= byte(1 + random.IntN(255))
			case 2:
				frame = append(frame, make([]byte, random.IntN(1000))...)
			}
			w.send(frame)
			w.drain()
		}
		w.askBoth(t)
	})
}

func TestHardwareAddressChanges(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w world) {
		w.announce(t, lb4, lb6)
		w.setMAC([6]byte{2, 0, 0, 0, 0, 77})
		w.heard(t, lb4, lb6) // is announced with the new one
		w.askBoth(t)
	})
}

func TestInterfaceFlaps(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w world) {
		w.announce(t, lb4, lb6)
		w.flap()
		w.heard(t, lb4, lb6) // is announced again
		w.askBoth(t)
	})
}

// What follows needs a kernel at the other end.

func TestKernelResolves(t *testing.T) {
	w, host, client := real(t)
	w.announce(t, lb4, lb6)
	for _, a := range []netip.Addr{lb4, lb6} {
		if got, want := client.Resolve(t, "eth0", a).MAC, host.MAC(t, "host0"); got != want {
			t.Errorf("%s is at %x for the client, want %x", a, got, want)
		}
		// The unicast probe of neighbor unreachability detection is answered, or
		// the entry would fail (metallb#2920).
		client.ProbeNeighbor(t, "eth0", a)
		client.AwaitNeighbor(t, "eth0", a, linktest.Reachable)
	}
}

// Neighbors learn a new hardware address from the announcement, not by asking.
func TestKernelLearnsFromAnnouncements(t *testing.T) {
	w, host, client := real(t)
	w.announce(t, lb4, lb6)
	client.Resolve(t, "eth0", lb4)
	client.Resolve(t, "eth0", lb6)
	want := [6]byte{2, 0, 0, 0, 0, 78}
	host.SetMAC(t, "host0", want)
	for _, a := range []netip.Addr{lb4, lb6} {
		var got linktest.Neighbor
		linktest.Await(t, func() bool {
			got = client.Neighbor(t, "eth0", a)
			return got.MAC == want
		}, func() { t.Logf("%s is at %x for the client, want %x", a, got.MAC, want) })
	}
}

// Duplicate address detection of a host that wants our address finds us.
func TestKernelDetectsDuplicate(t *testing.T) {
	w, _, client := real(t)
	w.announce(t, lb6)
	client.Sysctl(t, "net/ipv6/conf/eth0/accept_dad", "1")
	client.AddAddress(t, "eth0", lb6.String()+"/64")
	linktest.Await(t, func() bool { return client.DuplicateFound(t, "eth0", lb6) },
		func() { t.Log("the client uses our address") })
}

// 3000 groups need more than one socket, at 2340 per socket on the best kernels.
func TestManyGroupsAreJoinedAndRejoined(t *testing.T) {
	const n = 3000
	w, host, client := real(t)
	for i := range n {
		a := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 13: 0x7f, 14: byte(i >> 8), 15: byte(i)})
		if err := w.Announce(layer2.Announcement{Address: a}); err != nil {
			t.Fatal(err)
		}
	}
	joined := func() bool { return groupsOf(t, host, "host0", "ff02"+strings.Repeat("0000", 4)+"0001ff7f") == n }
	explain := func() { t.Logf("%d groups joined, want %d", groupsOf(t, host, "host0", "ff02"), n) }
	linktest.Await(t, joined, explain)
	last := netip.MustParseAddr(fmt.Sprintf("2001:db8::7f:%x", n-1))
	client.Resolve(t, "eth0", last)

	// Without IPv6 for a moment, the interface forgets all of its groups.
	host.Sysctl(t, "net/ipv6/conf/host0/disable_ipv6", "1")
	linktest.Await(t, func() bool { return groupsOf(t, host, "host0", "ff02") < n },
		func() { t.Log("the groups are still there") })
	host.Sysctl(t, "net/ipv6/conf/host0/disable_ipv6", "0")
	linktest.Await(t, joined, explain)
}

// groupsOf counts the IPv6 groups of an interface that begin like prefix.
func groupsOf(t *testing.T, n *linktest.Namespace, name, prefix string) int {
	t.Helper()
	var all []byte
	err := n.Enter(func() (err error) {
		all, err = os.ReadFile("/proc/thread-self/net/igmp6")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(all)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[1] == name && strings.HasPrefix(fields[2], prefix) {
			count++
		}
	}
	return count
}
