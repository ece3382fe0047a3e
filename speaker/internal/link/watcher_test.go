// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestWatcherFollowsALink(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Veth(t, "follow0", peer, "eth0")
	host.AddAddress(t, "follow0", "192.0.2.1/24")
	w := start(t)

	got := await(t, w, "follow0", func(i Interface) bool { return i.Up && i.LinkLocal6.IsValid() })
	want := Interface{
		Index: host.Index(t, "follow0"), Name: "follow0", MAC: host.MAC(t, "follow0"), MTU: 1500,
		Up: true, Ups: got.Ups, ARP: true, LinkLocal6: got.LinkLocal6,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.PrefixFrom(got.LinkLocal6, 64)},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("interface (-want +got):\n%s", diff)
	}

	host.AddAddress(t, "follow0", "2001:db8::1/64")
	await(t, w, "follow0", has("2001:db8::1/64"))
	host.RemoveAddress(t, "follow0", "192.0.2.1/24")
	await(t, w, "follow0", func(i Interface) bool { return !has("192.0.2.1/24")(i) })

	mac := [6]byte{2, 0, 0, 0, 0, 42}
	host.SetMAC(t, "follow0", mac)
	await(t, w, "follow0", func(i Interface) bool { return i.MAC == mac })

	before := got.Ups
	peer.Down(t, "eth0") // the carrier goes; the interface stays up for the administrator
	await(t, w, "follow0", func(i Interface) bool { return !i.Up })
	peer.Up(t, "eth0")
	await(t, w, "follow0", func(i Interface) bool { return i.Up && i.Ups > before })

	host.Delete(t, "follow0")
	awaitSnapshot(t, w, "follow0 is gone", func(all []Interface) bool { return find(all, "follow0").Index == 0 })
}

// A flap may be over before anybody looks: the count of ups tells all the same.
func TestWatcherCountsAShortFlap(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Veth(t, "flap0", peer, "eth0")
	w := start(t)
	before := await(t, w, "flap0", func(i Interface) bool { return i.Up })
	host.Down(t, "flap0")
	host.Up(t, "flap0")
	await(t, w, "flap0", func(i Interface) bool { return i.Up && i.Ups == before.Ups+1 })
}

// When a port leaves a bridge the kernel sends an RTM_DELLINK of family AF_BRIDGE.
func TestWatcherKeepsAPortThatLeavesABridge(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Bridge(t, "br0")
	host.Veth(t, "port0", peer, "eth0")
	w := start(t)
	await(t, w, "port0", func(i Interface) bool { return i.Up && !i.Master })
	host.Enslave(t, "port0", "br0")
	await(t, w, "port0", func(i Interface) bool { return i.Master })
	host.Enslave(t, "port0", "")
	await(t, w, "port0", func(i Interface) bool { return i.Up && !i.Master })
	host.AddAddress(t, "port0", "192.0.2.9/24") // one more event, after all of the bridge's
	await(t, w, "port0", func(i Interface) bool { return has("192.0.2.9/24")(i) && i.Up && !i.Master })
}

// The kernel sends no event for an address under duplicate address detection, but
// shows it to those who list all.
func TestWatcherIgnoresATentativeLinkLocal(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Sysctl(t, "net/ipv6/conf/default/accept_dad", "1")
	host.Veth(t, "dad0", peer, "eth0")
	w := New(slog.New(slog.DiscardHandler))
	var got Interface
	reread := func(ok func() bool) {
		t.Helper()
		linktest.Await(t, func() bool {
			if err := w.read(); err != nil {
				t.Fatal(err)
			}
			w.swap()
			got = find(w.Snapshot(), "dad0")
			return ok()
		}, func() { t.Logf("interface: %+v", got) })
	}
	reread(func() bool { return len(got.Prefixes) == 1 })
	if got.LinkLocal6.IsValid() {
		t.Errorf("link-local address %s is in use before duplicate address detection has ended", got.LinkLocal6)
	}
	reread(func() bool { return got.LinkLocal6.IsValid() })
}

func TestWatcherReadsAgainAfterItsSocketFails(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Veth(t, "again0", peer, "eth0")
	w := start(t)
	before := await(t, w, "again0", func(i Interface) bool { return i.Up })
	// What happens on ENOBUFS: all is read again, and a flap may have been missed.
	if err := w.read(); err != nil {
		t.Fatal(err)
	}
	w.swap()
	after := find(w.Snapshot(), "again0")
	if after.Ups != before.Ups+1 {
		t.Errorf("ups = %d after events were lost, want %d", after.Ups, before.Ups+1)
	}
}

func start(t *testing.T) *Watcher {
	t.Helper()
	w := New(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-w.Ready()
	return w
}

func await(t *testing.T, w *Watcher, name string, ok func(Interface) bool) Interface {
	t.Helper()
	var got Interface
	awaitSnapshot(t, w, name, func(all []Interface) bool {
		got = find(all, name)
		return got.Index != 0 && ok(got)
	})
	return got
}

func awaitSnapshot(t *testing.T, w *Watcher, what string, ok func([]Interface) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok(w.Snapshot()) {
		select {
		case <-w.Changed():
		case <-deadline:
			t.Fatalf("%s: not within 10 s; snapshot %+v", what, w.Snapshot())
		}
	}
}

func find(all []Interface, name string) Interface {
	for _, i := range all {
		if i.Name == name {
			return i
		}
	}
	return Interface{}
}

func has(prefix string) func(Interface) bool {
	want := netip.MustParsePrefix(prefix)
	return func(i Interface) bool { return slices.Contains(i.Prefixes, want) }
}

// A pod has no capability that matters here, and needs none.
func TestReadingNeedsNoCapability(t *testing.T) {
	linktest.Require(t)
	w := New(slog.New(slog.DiscardHandler))
	err := linktest.WithCapabilities(func() error {
		socket, err := subscribe()
		if err != nil {
			return err
		}
		socket.Close()
		return w.read()
	})
	if err != nil {
		t.Error(err)
	}
	w.swap()
	if find(w.Snapshot(), "lo").Index != 1 {
		t.Errorf("snapshot without lo: %+v", w.Snapshot())
	}
}
