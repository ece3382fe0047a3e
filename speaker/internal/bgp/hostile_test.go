// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// hostile is a peer made by hand, that says what it likes once the session is up.
type hostile struct {
	address netip.Addr
	// up is rung when the OPENs have been exchanged.
	up chan net.Conn
}

// newHostile listens at an address of the loopback network.
func newHostile(t *testing.T, address string) *hostile {
	t.Helper()
	linktest.Host(t).Up(t, "lo")
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr(address), 1790).String())
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{address: addr(address), up: make(chan net.Conn, 1)}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.open(conn)
		}
	}()
	return h
}

// open exchanges OPENs and KEEPALIVEs.
func (h *hostile) open(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	open := gobgp.NewBGPOpenMessage(64501, 90, "192.0.2.2", []gobgp.OptionParameterInterface{
		gobgp.NewOptionParameterCapability([]gobgp.ParameterCapabilityInterface{
			gobgp.NewCapMultiProtocol(gobgp.RF_IPv4_UC), gobgp.NewCapFourOctetASNumber(64501),
		}),
	})
	for _, m := range []*gobgp.BGPMessage{open, gobgp.NewBGPKeepAliveMessage()} {
		b, _ := m.Serialize()
		_, _ = conn.Write(b)
	}
	for range 2 { // their OPEN and KEEPALIVE
		if _, err := readMessage(conn); err != nil {
			_ = conn.Close()
			return
		}
	}
	select {
	case h.up <- conn:
	default:
		_ = conn.Close()
	}
}

// readMessage returns a message whole.
func readMessage(conn net.Conn) ([]byte, error) {
	head := make([]byte, 19)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	body := make([]byte, max(int(binary.BigEndian.Uint16(head[16:]))-len(head), 0))
	_, err := io.ReadFull(conn, body)
	return append(head, body...), err
}

func (h *hostile) peer() bgp.Peer {
	p := peer()
	p.Address, p.Port, p.Families = h.address, 1790, bgp.IPv4Unicast
	p.MultihopTTL = 2
	return p
}

// message frames a body as it is.
func message(kind byte, body []byte) []byte {
	b := make([]byte, 16, 19+len(body))
	for i := range b {
		b[i] = 0xff
	}
	b = binary.BigEndian.AppendUint16(b, uint16(19+len(body)))
	return append(append(b, kind), body...)
}

// A peer that is taken away while its session opens leaves nothing of gobgp's behind, for
// which TestMain looks at the end: see watcher.settled.
func TestTakenAwayWhileOpening(t *testing.T) {
	w := run(t)
	routers := make(map[bgp.PeerName]*hostile)
	for n := range 20 {
		routers[bgp.PeerName(strconv.Itoa(n))] = newHostile(t, fmt.Sprintf("127.0.5.%d", n+1))
	}
	for range 3 {
		wanted := make(map[bgp.PeerName]bgp.Peer)
		for name, h := range routers {
			wanted[name] = h.peer()
		}
		w.Peers(wanted)
		linktest.Await(t, func() bool {
			before := len(wanted)
			for name, s := range w.Snapshot() {
				if s.State >= bgp.OpenConfirm {
					delete(wanted, name)
				}
			}
			if len(wanted) != before {
				w.Peers(wanted)
			}
			return len(wanted) == 0
		}, func() { t.Logf("%d sessions have not begun", len(wanted)) })
		for _, h := range routers { // a session may have come up all the same
			select {
			case conn := <-h.up:
				_ = conn.Close()
			default:
			}
		}
	}
}

// A peer that sends garbage costs itself its session, is answered in the words of the
// RFCs, and costs another peer nothing. The first two of these ended gobgp, and the
// process with it.
func TestMalformedMessages(t *testing.T) {
	const open, update, notification, refresh = 1, 2, 3, 5
	for name, test := range map[string]struct {
		message []byte
		code    byte
		subcode byte
		words   string
	}{
		"an unknown type":   {message(99, nil), 1, 3, "Message Header Error, Bad Message Type (a message has type 99)"},
		"a second OPEN":     {message(open, []byte{4, 0, 1, 0, 90, 1, 1, 1, 1, 0}), 5, 3, "Finite State Machine Error, Unexpected Message in Established State (a message of type 1)"},
		"no marker":         {make([]byte, 19), 1, 1, "Message Header Error, Connection Not Synchronized (a marker is not all ones)"},
		"a short message":   {message(notification, []byte{6}), 1, 2, "Message Header Error, Bad Message Length (a message of type 3 is 20 bytes long)"},
		"a short REFRESH":   {message(refresh, []byte{0, 1}), 7, 1, "ROUTE-REFRESH Message Error, Invalid Message Length (a ROUTE-REFRESH is 21 bytes long)"},
		"a length beyond":   {message(update, []byte{0xff, 0xff, 0, 0}), 3, 1, "UPDATE Message Error, Malformed Attribute List (the withdrawn routes of an UPDATE are longer than it)"},
		"a prefix too long": {message(update, []byte{0, 0, 0, 0, 33, 10, 0, 0, 1, 0}), 3, 10, "UPDATE Message Error, Invalid Network Field (an UPDATE has a prefix of 33 bits in ipv4-unicast)"},
	} {
		t.Run(name, func(t *testing.T) {
			good, bad := newHostile(t, "127.0.0.2"), newHostile(t, "127.0.0.3")
			w := run(t)
			for _, p := range []bgp.PeerName{"good", "bad"} {
				w.advertise(t, p, bgp.Path{}, lb4)
			}
			w.Peers(map[bgp.PeerName]bgp.Peer{"good": good.peer(), "bad": bad.peer()})
			other := <-good.up
			defer func() { _ = other.Close() }()
			conn := <-bad.up
			defer func() { _ = conn.Close() }()
			since := w.established(t, "good").Since
			w.established(t, "bad")
			if _, err := conn.Write(test.message); err != nil {
				t.Fatal(err)
			}
			code, subcode := lastWord(t, conn)
			if code != test.code || subcode != test.subcode {
				t.Errorf("the peer was sent NOTIFICATION %d/%d, want %d/%d", code, subcode, test.code, test.subcode)
			}
			w.awaitNotification(t, "bad", "sent "+test.words)
			if s := w.established(t, "good"); s.Since != since {
				t.Error("the other peer lost its session")
			}
		})
	}
}

// lastWord reads up to the end of a connection, and returns the NOTIFICATION that is its
// last message.
func lastWord(t *testing.T, conn net.Conn) (code, subcode byte) {
	t.Helper()
	var last []byte
	for {
		m, err := readMessage(conn)
		if err != nil {
			break
		}
		last = m
	}
	if len(last) < 21 || last[18] != 3 {
		t.Fatalf("the last message was % x, want a NOTIFICATION", last)
	}
	return last[19], last[20]
}

// A router that does not know us closes the connection without a word.
func TestClosedConnection(t *testing.T) {
	linktest.Host(t).Up(t, "lo")
	l, err := net.Listen("tcp", "127.0.0.2:1790")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			_ = conn.Close()
		}
	}()
	w := run(t)
	w.Peers(map[bgp.PeerName]bgp.Peer{"tor": (&hostile{address: addr("127.0.0.2")}).peer()})
	w.awaitProblem(t, "tor", "the router ends the connection and does not say why")
	_ = l.Close()
	<-ended
}

// What is wrong with path attributes costs nothing at all (RFC 7606): the routes are
// refused anyway.
func TestMalformedAttributes(t *testing.T) {
	const update = 2
	h := newHostile(t, "127.0.0.2")
	w := run(t)
	w.Peers(map[bgp.PeerName]bgp.Peer{"hostile": h.peer()})
	conn := <-h.up
	defer func() { _ = conn.Close() }()
	since := w.established(t, "hostile").Since
	for _, body := range [][]byte{
		{0, 0, 0, 4, 0x40, 200, 1, 0, 32, 10, 0, 0, 1},            // an unknown well-known one
		{0, 0, 0, 4, 0x40, 1, 9, 0, 32, 10, 0, 0, 2},              // one that is longer than all
		{0, 0, 0, 4, 0x40, 1, 1, 77, 32, 10, 0, 0, 3},             // an ORIGIN that does not exist
		{0, 0, 0, 7, 0x80, 14, 4, 0, 25, 70, 0, 32, 10, 0, 0, 4},  // a family that is not ours, cut short
		{0, 0, 0, 7, 0x40, 2, 4, 2, 200, 0, 0, 32, 10, 0, 0, 5},   // an AS_PATH that is cut short
		{0, 0, 0, 7, 0x40, 3, 4, 255, 255, 255, 255, 16, 172, 16}, // a next hop that is none
	} {
		if _, err := conn.Write(message(update, body)); err != nil {
			t.Fatal(err)
		}
	}
	linktest.Await(t, func() bool { return w.refused(t, "127.0.0.2:1790") == 6 },
		func() { t.Logf("%v routes are refused, want 6", w.refused(t, "127.0.0.2:1790")) })
	if s := w.established(t, "hostile"); s.Since != since || s.LastNotification.String() != "" {
		t.Errorf("the session is of %s after %q, want that of %s", s.Since, s.LastNotification, since)
	}
}

// A peer that never reads: the other peers get their routes, and to hold it takes effect
// at once all the same.
func TestPeerThatDoesNotRead(t *testing.T) {
	deaf := newHostile(t, "127.0.0.3")
	r := bgptest.NewBIRD(t, newSite(t).Namespace, expecting(bgptest.Neighbor{Address: node4}))
	w := run(t)
	w.Peers(map[bgp.PeerName]bgp.Peer{"deaf": deaf.peer(), "tor": peer()})
	conn := <-deaf.up
	defer func() { _ = conn.Close() }()
	w.established(t, "deaf")
	w.established(t, "tor")
	for i := range 3000 {
		p := bgp.PathKey{Peer: "deaf", Prefix: nthPrefix(i)}
		if err := w.Advertise(p, bgp.Path{}); err != nil {
			t.Fatal(err)
		}
		p.Peer = "tor"
		if err := w.Advertise(p, bgp.Path{}); err != nil {
			t.Fatal(err)
		}
	}
	awaitCount(t, r, 3000)
	w.Hold("deaf", "test")
	linktest.Await(t, func() bool { return w.Snapshot()["deaf"].State == bgp.Idle }, func() {})
}

// A peer that sends 100 000 routes keeps its session, and another peer gets a new route
// meanwhile.
func TestFullTable(t *testing.T) {
	const table = 100_000
	loud := newHostile(t, "127.0.0.3")
	r := bgptest.NewBIRD(t, newSite(t).Namespace, expecting(bgptest.Neighbor{Address: node4}))
	w := run(t)
	w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer()})
	w.established(t, "tor")
	w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer(), "loud": loud.peer()})
	conn := <-loud.up
	defer func() { _ = conn.Close() }()
	sent := make(chan error, 1)
	go func() {
		attributes := []byte{0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf5, 0x40, 3, 4, 192, 0, 2, 2}
		for i := 0; i < table; i += 100 {
			body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attributes)))
			body = append(body, attributes...)
			for k := range 100 {
				body = append(append(body, 32), nthPrefix(i+k).Addr().AsSlice()...)
			}
			if _, err := conn.Write(message(2, body)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	w.advertise(t, "tor", bgp.Path{}, lb4)
	awaitCount(t, r, 1)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	linktest.Await(t, func() bool { return w.refused(t, "127.0.0.3:1790") == table },
		func() { t.Logf("%v routes are refused, want %d", w.refused(t, "127.0.0.3:1790"), table) })
	if s := w.Snapshot()["loud"]; s.State != bgp.Established || s.LastNotification.String() != "" {
		t.Errorf("the loud peer is %s after %q", s.State, s.LastNotification)
	}
}

// refused is the metric of one of several peers.
func (w *world) refused(t *testing.T, peer string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "herald_bgp_refused_prefixes" && m.GetLabel()[0].GetValue() == peer {
				return m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
