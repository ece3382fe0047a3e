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

// A peer that is expected is dialled, and hears nothing before Peers, however long it
// listens: gobgp waits two seconds at most before it dials.
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

	const delay = 2500 * time.Millisecond // gobgp's two seconds, and some more
	if err := conn.SetReadDeadline(time.Now().Add(delay)); err != nil {
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
