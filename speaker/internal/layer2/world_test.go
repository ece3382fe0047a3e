// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/layer2/layer2test"
	"github.com/herald-lb/herald/speaker/internal/link"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// patience is how long something may take that is expected to happen.
const patience = 10 * time.Second

// world is a link with a running Announcer at one end and a client at the other.
type world struct {
	*layer2.Announcer
	mac    func() [6]byte     // of the Announcer's interface
	setMAC func(mac [6]byte)  //
	flap   func()             // down and up again
	send   func(frame []byte) // from the client
	frames <-chan []byte      // to the client
}

// inBothWorlds runs a test on a link in memory and on one of the kernel.
func inBothWorlds(t *testing.T, test func(t *testing.T, w world)) {
	t.Run("simulated", func(t *testing.T) { test(t, simulated(t)) })
	t.Run("real", func(t *testing.T) { w, _, _ := real(t); test(t, w) })
}

// run runs a part of a world until the test ends.
func run(t testing.TB, part func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func simulated(t *testing.T) world {
	n := new(layer2test.Network)
	i := layer2.Interface{Index: 2, Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Up: true, ARP: true, LinkLocal6: netip.MustParseAddr("fe80::1")}
	a := layer2.New(layer2.Options{Log: slog.New(slog.DiscardHandler), Network: n})
	a.Follow([]layer2.Interface{i})
	run(t, a.Run)
	frames := make(chan []byte, 1<<16)
	run(t, func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-n.Changed():
				for _, f := range n.Take() {
					select {
					case frames <- f.Bytes:
					case <-ctx.Done():
						return nil
					}
				}
			}
		}
	})
	// The wire: both sockets see what is of their protocol. A frame that finds no
	// socket is lost, as on a wire.
	send := func(frame []byte) {
		p := layer2.ARP
		if len(frame) > 13 && frame[12] == 0x86 {
			p = layer2.NDP
		}
		n.Deliver(p, i.Index, frame)
	}
	return world{
		Announcer: a,
		mac:       func() [6]byte { return i.MAC },
		setMAC: func(mac [6]byte) {
			i.MAC = mac
			a.Follow([]layer2.Interface{i})
		},
		flap: func() {
			i.Ups++
			a.Follow([]layer2.Interface{i})
		},
		send:   send,
		frames: frames,
	}
}

// wired returns an Announcer on one end of a veth pair, and the namespaces of
// both: the Announcer's, where the interface is host0, and the client's, where
// it is eth0 with 192.0.2.9 and 2001:db8::9.
func wired(t testing.TB) (a *layer2.Announcer, host, client *linktest.Namespace) {
	host, client = linktest.Host(t), linktest.New(t)
	host.Veth(t, "host0", client, "eth0")
	host.AddAddress(t, "host0", "192.0.2.1/24")
	host.AddAddress(t, "host0", "2001:db8::1/64")
	client.AddAddress(t, "eth0", "192.0.2.9/24")
	client.AddAddress(t, "eth0", "2001:db8::9/64")
	a = layer2.New(layer2.Options{Log: slog.New(slog.DiscardHandler)})
	run(t, a.Run)
	follow(t, a, "host0")
	return a, host, client
}

// real returns a world of veth interfaces, and the namespaces of its two ends.
func real(t testing.TB) (w world, host, client *linktest.Namespace) {
	a, host, client := wired(t)
	conn := tap(t, client, "eth0")
	frames := make(chan []byte, 1<<16)
	run(t, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(0, 1)) })
		defer stop()
		buffer := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buffer)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				continue
			}
			select {
			case frames <- slices.Clone(buffer[:n]):
			case <-ctx.Done():
				return nil
			}
		}
	})
	return world{
		Announcer: a,
		mac:       func() [6]byte { return host.MAC(t, "host0") },
		setMAC:    func(mac [6]byte) { host.SetMAC(t, "host0", mac) },
		flap: func() {
			host.Down(t, "host0")
			host.Up(t, "host0")
		},
		send: func(frame []byte) {
			if _, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: make(net.HardwareAddr, 6)}); err != nil {
				t.Fatalf("send: %v", err)
			}
		},
		frames: frames,
	}, host, client
}

// follow tells the Announcer of one interface, as the shell does, and returns
// when it is usable.
func follow(t testing.TB, a *layer2.Announcer, name string) {
	t.Helper()
	watcher := link.New(slog.New(slog.DiscardHandler))
	run(t, watcher.Run)
	usable := make(chan struct{})
	run(t, func(ctx context.Context) error {
		told := false
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-watcher.Changed():
			}
			for _, i := range watcher.Snapshot() {
				if i.Name != name {
					continue
				}
				f := layer2.Interface{Index: i.Index, Name: i.Name, MAC: i.MAC, Up: i.Up, Master: i.Master, ARP: i.ARP, LinkLocal6: i.LinkLocal6, Ups: i.Ups}
				a.Follow([]layer2.Interface{f})
				if !told && layer2.Usable(f, layer2.ARP) && layer2.Usable(f, layer2.NDP) {
					told = true
					close(usable)
				}
			}
		}
	})
	select {
	case <-usable:
	case <-time.After(patience):
		t.Fatalf("%s did not come up", name)
	}
}

// tap is a socket that sees and sends every frame of an interface.
func tap(t testing.TB, n *linktest.Namespace, name string) *packet.Conn {
	t.Helper()
	var conn *packet.Conn
	err := n.Enter(func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		conn, err = packet.Listen(i, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		t.Fatalf("open tap on %s: %v", name, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// announce announces addresses and waits until the client has heard of them.
func (w world) announce(t testing.TB, addresses ...netip.Addr) {
	t.Helper()
	for _, a := range addresses {
		if err := w.Announce(layer2.Announcement{Address: a}); err != nil {
			t.Fatal(err)
		}
	}
	w.heard(t, addresses...)
}

// heard waits until each address has been announced to the client with the
// present hardware address of the interface.
func (w world) heard(t testing.TB, addresses ...netip.Addr) {
	t.Helper()
	mac := w.mac()
	missing := slices.Clone(addresses)
	deadline := time.After(patience)
	for len(missing) > 0 {
		select {
		case frame := <-w.frames:
			if c, ok := readClaim(frame); ok && c.mac == mac && !c.answer {
				missing = slices.DeleteFunc(missing, func(a netip.Addr) bool { return a == c.address })
			}
		case <-deadline:
			t.Fatalf("%v were not announced with %x within %v", missing, mac, patience)
		}
	}
}

// ask sends a request until it is answered: one that is sent while a socket is
// replaced is lost.
func (w world) ask(t testing.TB, frame []byte, address netip.Addr) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	w.send(frame)
	for {
		select {
		case f := <-w.frames:
			if c, ok := readClaim(f); ok && c.answer && c.address == address && c.mac == w.mac() {
				return
			}
		case <-again.C:
			w.send(frame)
		case <-deadline:
			t.Fatalf("no answer for %s within %v", address, patience)
		}
	}
}

// askBoth asks for lb4 and lb6.
func (w world) askBoth(t testing.TB) {
	t.Helper()
	w.ask(t, request(t, clientMAC, "192.0.2.9", lb4), lb4)
	w.ask(t, solicitation(t, clientMAC, "fe80::9", lb6), lb6)
}

// drain forgets the frames that the client has received so far.
func (w world) drain() {
	for {
		select {
		case <-w.frames:
		default:
			return
		}
	}
}
