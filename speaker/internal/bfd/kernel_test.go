// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// How a packet came is what the session is found by: each kind of path, one after
// the other, from one end of a link to the other.
func TestArrivals(t *testing.T) {
	r := newRouter(t)
	address := netip.MustParseAddr
	tests := map[string]struct {
		send Path // from the router
		want arrival
	}{
		"IPv4":       {Path{Peer: address("192.0.2.1")}, arrival{from: address("192.0.2.2"), to: address("192.0.2.1")}},
		"IPv4 local": {Path{Peer: address("192.0.2.3"), Local: address("192.0.2.4")}, arrival{from: address("192.0.2.4"), to: address("192.0.2.3")}},
		"multihop":   {Path{Peer: address("192.0.2.1"), Multihop: true}, arrival{from: address("192.0.2.2"), to: address("192.0.2.1")}},
		"IPv6":       {Path{Peer: address("2001:db8::1")}, arrival{from: address("2001:db8::2"), to: address("2001:db8::1")}},
		"link-local": {Path{Peer: address("fe80::1"), Interface: "eth0", Local: address("fe80::2")}, arrival{from: address("fe80::2"), to: address("fe80::1")}},
		"device":     {Path{Peer: address("192.0.2.1"), VRF: "eth0"}, arrival{from: address("192.0.2.2"), to: address("192.0.2.1")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := tt.send.entrance()
			if e.VRF != "" {
				e.VRF = "host0"
			}
			in, err := kernel{}.listen(context.Background(), e)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			var out sender
			err = r.Enter(func() (err error) {
				out, err = kernel{}.open(tt.send, 50000)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			tt.want.length, tt.want.ttl, tt.want.index = packetLength, hopLimit, r.host.Index(t, "host0")
			b := make([]byte, maxPacket)
			for _, receive := range map[string]func() (arrival, error){
				"receive": func() (arrival, error) { return in.receive(b) },
				"poll": func() (a arrival, err error) {
					ok := false
					linktest.Await(t, func() bool { a, ok = in.poll(b); return ok }, func() { t.Log("nothing has arrived") })
					return a, nil
				},
			} {
				if err := out.send(onWire.append(nil)); err != nil {
					t.Fatal(err)
				}
				got, err := receive()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(arrival{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("arrival (-want +got):\n%s", diff)
				}
			}
			if _, ok := in.poll(b); ok {
				t.Error("poll has found a packet that was not sent")
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	linktest.Host(t).Up(t, "lo")
	path := Path{Peer: netip.MustParseAddr("127.0.0.1")}
	first, err := kernel{}.open(path, 50000)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := (kernel{}).open(path, 50000); !isPortTaken(err) {
		t.Errorf("error %v, want that the port is taken", err)
	}
	path.Interface = "missing0"
	if _, err := (kernel{}).open(path, 50001); err == nil || isPortTaken(err) {
		t.Errorf("error %v, want that there is no such interface", err)
	}
}

func TestReceiveEndsWithClose(t *testing.T) {
	linktest.Host(t)
	in, err := kernel{}.listen(context.Background(), entrance{IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	echo, err := kernel{}.openEcho()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { _, err := in.receive(make([]byte, maxPacket)); ended <- err }()
	go func() { _, err := echo.receiveEcho(make([]byte, maxPacket)); ended <- err }()
	in.Close()
	echo.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v, want net.ErrClosed", err)
		}
	}
}

func TestEchoDatagram(t *testing.T) {
	var e packetEcho
	for range 2 { // the buffer is used again
		b := e.datagram(netip.MustParseAddr("192.0.2.1"), []byte("abc"))
		// By RFC 791 and RFC 768; the sums by another program.
		want := unhex(t, "45c0001f00004000ff11f70ac0000201c0000201"+"0ec90ec9000b99e0"+"616263")
		if diff := cmp.Diff(want, b); diff != "" {
			t.Errorf("datagram (-want +got):\n%s", diff)
		}
		// A sum over all, its checksum included, is all ones.
		if sum := checksum(b[:ipv4Header], 0); sum != 0xffff {
			t.Errorf("the header does not sum up: %#x", sum)
		}
	}
}

const arpText = `IP address       HW type     Flags       HW address            Mask     Device
192.0.2.2        0x1         0x2         02:00:00:00:00:02     *        eth0
192.0.2.3        0x1         0x0         00:00:00:00:00:00     *        eth0
192.0.2.2        0x1         0x6         02:00:00:00:00:0a     *        eth1
192.0.2.4        0x1         0x2         02:00:00:00:00:04     *        gone0
`

func TestParseNeighbors(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.2")
	want := map[neighborKey][6]byte{{3, a}: {2, 0, 0, 0, 0, 2}, {4, a}: {2, 0, 0, 0, 0, 10}}
	got := parseNeighbors([]byte(arpText), map[string]int{"eth0": 3, "eth1": 4})
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(neighborKey{})); diff != "" {
		t.Errorf("neighbors (-want +got):\n%s", diff)
	}
}

// Control messages come from the kernel, but from its parser we want no surprise.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte{})
	f.Add(unhex(f, "14000000000000000000000002000000ff00000000000000"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var a arrival
		a.describe(b)
	})
}
