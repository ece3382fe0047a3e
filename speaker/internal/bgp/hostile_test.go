// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// A peer that sends garbage costs itself its session, is answered in the words of the
// RFC, and costs another peer nothing.
func TestMalformedMessages(t *testing.T) {
	const update = 2
	for name, test := range map[string]struct {
		message []byte
		words   string
	}{
		"no marker":             {make([]byte, 19), "Message Header Error"},
		"a length beyond":       {message(update, []byte{0xff, 0xff, 0, 0}), "UPDATE Message Error, Malformed Attribute List"},
		"an unknown well-known": {message(update, []byte{0, 0, 0, 4, 0x40, 200, 1, 0, 32, 10, 0, 0, 1}), ""},
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
			since := w.established(t, "good").Since
			w.established(t, "bad")
			if _, err := conn.Write(test.message); err != nil {
				t.Fatal(err)
			}
			if test.words != "" {
				w.awaitNotification(t, "bad", "sent "+test.words)
			}
			_ = conn.Close()
			if s := w.established(t, "good"); s.Since != since {
				t.Error("the other peer lost its session")
			}
		})
	}
}

// What gobgp v3 does not survive, and with it the process. It is here so that it is
// known, and so that a gobgp that does survive it makes this test fail.
func TestMessagesThatCrash(t *testing.T) {
	for name, m := range map[string][]byte{
		"an unknown type": message(99, nil),
		"a second OPEN":   message(1, []byte{4, 0, 1, 0, 90, 1, 1, 1, 1, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, crashAddress)
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), asVictim+"=1")
			var output strings.Builder
			cmd.Stderr = &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			conn := <-h.up
			defer func() { _ = conn.Close() }()
			// It has to be Established, where a KEEPALIVE of theirs would have been answered.
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range 50 {
				_, _ = conn.Write(m)
				select {
				case <-ended: //nolint:errcheck // how it ended is in its output
					if !strings.Contains(output.String(), "panic: ") {
						t.Errorf("the process ended without a panic: %s", output.String())
					}
					return
				case <-tick.C:
				}
			}
			_ = cmd.Process.Kill()
			<-ended //nolint:errcheck // it was killed
			t.Error("gobgp has survived: move this message to TestMalformedMessages")
		})
	}
}

const (
	// asVictim has the test program be a speaker with a hostile peer.
	asVictim     = "HERALD_TEST_VICTIM"
	crashAddress = "127.0.0.4"
)

// beVictim is that speaker. It ends by what it receives, or not at all.
func beVictim() error {
	r := bgp.New(bgp.Config{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	r.Peers(map[bgp.PeerName]bgp.Peer{"hostile": (&hostile{address: addr(crashAddress)}).peer()})
	return r.Run(context.Background())
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

// A peer that sends 20 000 routes keeps its session, and another peer gets a new route
// meanwhile.
func TestFullTable(t *testing.T) {
	const table = 20_000
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
