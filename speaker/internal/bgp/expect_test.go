// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// A peer that is expected is dialled, and hears nothing before Peers. Meanwhile another
// router comes up twice, so that gobgp, which waits two seconds at most before it dials,
// has had the time.
func TestExpectedPeerHearsNothing(t *testing.T) {
	linktest.Host(t).Up(t, "lo")
	l, err := net.Listen("tcp", "127.0.0.4:1790")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := run(t)
	p := peer()
	p.Address, p.Port, p.Families, p.MultihopTTL = addr("127.0.0.4"), 1790, bgp.IPv4Unicast, 2
	w.Expect(map[bgp.PeerName]bgp.Peer{"tor": p})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	witness, other := run(t), newHostile(t, "127.0.0.5")
	for range 2 {
		witness.Peers(map[bgp.PeerName]bgp.Peer{"other": other.peer()})
		_ = (<-other.up).Close()
		witness.Peers(nil)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if m, err := readMessage(conn); !os.IsTimeout(err) {
		t.Fatalf("it has heard %v (%v)", m, err)
	}

	w.advertise(t, "tor", bgp.Path{}, lb4)
	w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if m, err := readMessage(conn); err != nil || m[18] != 1 {
		t.Fatalf("it hears %v (%v), want an OPEN", m, err)
	}
}
