// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// silent observes nothing but states.
type silent struct{ states chan State }

func (s silent) entered(state State) {
	select {
	case s.states <- state:
	default:
	}
}
func (silent) connected(netip.Addr)  {}
func (silent) unreached(error)       {}
func (silent) opened(*openMessage)   {}
func (silent) notified(Notification) {}
func (silent) remarked(string)       {}
func (silent) over(error)            {}

func externalPeer() Peer {
	p, err := Peer{
		Address: loopback, LocalASN: 64500, RemoteASN: 64501, RouterID: netip.MustParseAddr("192.0.2.1"),
		Families: IPv4Unicast | IPv6Unicast,
	}.withDefaults()
	if err != nil {
		panic(err)
	}
	return p
}

// theirOpen is an OPEN as a router sends it.
func theirOpen() []byte {
	b, err := gobgp.NewBGPOpenMessage(64501, 90, "192.0.2.2", []gobgp.OptionParameterInterface{
		gobgp.NewOptionParameterCapability([]gobgp.ParameterCapabilityInterface{
			gobgp.NewCapMultiProtocol(gobgp.RF_IPv4_UC), gobgp.NewCapMultiProtocol(gobgp.RF_IPv6_UC),
			gobgp.NewCapRouteRefresh(), gobgp.NewCapFourOctetASNumber(64501), gobgp.NewCapFQDN("router", "example"),
			gobgp.NewCapExtendedNexthop([]*gobgp.CapExtendedNexthopTuple{gobgp.NewCapExtendedNexthopTuple(gobgp.RF_IPv4_UC, gobgp.AFI_IP6)}),
			gobgp.NewCapGracefulRestart(true, false, 120, []*gobgp.CapGracefulRestartTuple{gobgp.NewCapGracefulRestartTuple(gobgp.RF_IPv6_UC, true)}),
		}),
	}).Serialize()
	if err != nil {
		panic(err)
	}
	return b
}

// What other processes of the host say to a relay does not get to the router, whenever
// they connect.
func TestRelayListensToItsOwnSpeakerOnly(t *testing.T) {
	linktest.Host(t).Up(t, "lo")
	router, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = router.Close() }()
	p := externalPeer()
	p.Port = router.Addr().(*net.TCPAddr).AddrPort().Port()
	r, err := newRelay(t.Context(), p, loopback, &tally{}, silent{make(chan State)})
	if err != nil {
		t.Fatal(err)
	}
	r.start(t.Context())
	stopped := false
	defer func() {
		if !stopped {
			r.stop(nil)
		}
	}()
	dial := func(says []byte) *net.TCPConn {
		conn, err := net.Dial("tcp4", r.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(says)
		return conn.(*net.TCPConn)
	}
	lie := newMessage(typeUpdate, []byte{0, 0, 0, 0, 32, 10, 0, 0, 1})
	for range 2 * strangers {
		defer func(c net.Conn) { _ = c.Close() }(dial(lie))
	}
	truth := newMessage(typeKeepalive, nil)
	ours := dial(truth)
	defer func() { _ = ours.Close() }()
	for range strangers - 1 {
		defer func(c net.Conn) { _ = c.Close() }(dial(lie))
	}
	r.claim(ours.LocalAddr().(*net.TCPAddr).AddrPort().Port())
	r.proceed()
	conn, err := router.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	in := newBuffer(conn)
	if m, err := readMessage(in); err != nil || !bytes.Equal(m, truth) {
		t.Fatalf("the router was sent % x, %v, want the KEEPALIVE", m, err)
	}
	stopped = true
	go r.stop(cease(ceaseShutdown))
	if m, err := readMessage(in); err != nil || !bytes.Equal(m, newNotification(codeCease, ceaseShutdown, nil)) {
		t.Errorf("the router was sent % x, %v, want a Cease", m, err)
	}
	if _, err := readMessage(in); !errors.Is(err, io.EOF) {
		t.Errorf("after the Cease the router reads %v, want the end", err)
	}
	_ = conn.Close()
	<-r.ended
}

// sink is a connection to gobgp that takes what it is given.
type sink struct {
	net.Conn
	got []byte
}

func (s *sink) Write(b []byte) (int, error) {
	s.got = append(s.got, b...)
	return len(b), nil
}

// hearAll has a pump receive a stream, and returns what gobgp gets of it.
func hearAll(stream []byte) ([]byte, error) {
	to := &sink{}
	r := &relay{peer: externalPeer(), tally: &tally{}, observer: silent{make(chan State)}}
	p := &pump{relay: r, inner: to}
	err := p.receive(bufio.NewReaderSize(bytes.NewReader(stream), longestLength))
	return to.got, err
}

func TestWhatGetsThrough(t *testing.T) {
	keepalive := newMessage(typeKeepalive, nil)
	route := newMessage(typeUpdate, []byte{0, 0, 0, 0, 32, 10, 0, 0, 1})
	refresh := newMessage(typeRefresh, []byte{0, 2, 0, 1})
	got, err := hearAll(slices.Concat(theirOpen(), keepalive, route, route, keepalive,
		newMessage(typeRefresh, []byte{0, 25, 0, 70}), refresh, endOfRIB(IPv4Unicast), endOfRIB(IPv6Unicast)))
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v, want EOF", err)
	}
	open, bad := parseOpen(message(theirOpen()).body())
	if bad != nil {
		t.Fatal(bad)
	}
	want := slices.Concat(open.encode(), keepalive,
		keepalive, // for two routes within a second
		keepalive, refresh, endOfRIB(IPv4Unicast), endOfRIB(IPv6Unicast))
	if !bytes.Equal(got, want) {
		t.Errorf("gobgp gets\n% x, want\n% x", got, want)
	}
}

func TestOpenIsChecked(t *testing.T) {
	edit := func(at int, b ...byte) []byte {
		m := theirOpen()
		copy(m[headerLength+at:], b)
		return m
	}
	for name, test := range map[string]struct {
		message       []byte
		code, subcode byte
	}{
		"version":                {edit(0, 3), codeOpen, openVersion},
		"hold time":              {edit(3, 0, 2), codeOpen, openHoldTime},
		"no identifier":          {edit(5, 0, 0, 0, 0), codeOpen, openBadIdentifier},
		"length of parameters":   {edit(9, 7), codeOpen, 0},
		"length of a parameter":  {edit(11, 255), codeOpen, 0},
		"type of a parameter":    {edit(10, 1), codeOpen, openParameter},
		"length of a capability": {edit(13, 3), codeOpen, 0},
		"not an OPEN":            {newMessage(typeKeepalive, nil), codeFSM, 1},
		"another AS":             {newMessage(typeOpen, []byte{4, 0, 7, 0, 90, 192, 0, 2, 2, 0}), codeOpen, openBadPeerAS},
		"no KEEPALIVE":           {slices.Concat(theirOpen(), newMessage(typeUpdate, make([]byte, 4))), codeFSM, 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hearAll(test.message)
			bad, ok := errors.AsType[*messageError](err)
			if !ok || bad.code != test.code || bad.subcode != test.subcode {
				t.Errorf("got %v, want NOTIFICATION %d/%d", err, test.code, test.subcode)
			}
		})
	}
}

// A peer that knows nothing of RFC 5492, and one that has more parameters than fit into
// one octet's length (RFC 9072).
func TestOpenOfOldAndNew(t *testing.T) {
	old, bad := parseOpen([]byte{4, 0xfb, 0xf5, 0, 90, 192, 0, 2, 2, 0})
	if bad != nil || old.asn != 64501 || old.fourOctets || old.families != IPv4Unicast {
		t.Errorf("the old OPEN is %+v, %v", old, bad)
	}
	capability := []byte{1, 4, 0, 2, 0, 1}
	parameters := binary.BigEndian.AppendUint16([]byte{parameterCapabilities}, uint16(len(capability)))
	parameters = append(parameters, capability...)
	body := []byte{4, 0xfb, 0xf5, 0, 90, 192, 0, 2, 2, 255, parameterExtended, 0, byte(len(parameters))}
	wide, bad := parseOpen(append(body, parameters...))
	if bad != nil || wide.families != IPv6Unicast {
		t.Errorf("the new OPEN is %+v, %v", wide, bad)
	}
}

// Whatever a peer sends, what gobgp gets is well-formed, and in the order of RFC 4271.
func FuzzReceive(f *testing.F) {
	keepalive := newMessage(typeKeepalive, nil)
	update := newMessage(typeUpdate, []byte{0, 4, 24, 10, 0, 0, 0, 4, 0x40, 1, 1, 0, 32, 10, 0, 0, 1})
	mp := newMessage(typeUpdate, []byte{0, 0, 0, 12, 0x80, 14, 9, 0, 2, 1, 0, 0, 16, 0x20, 1, 0, 8})
	for _, stream := range [][]byte{
		slices.Concat(theirOpen(), keepalive, update, mp, endOfRIB(IPv6Unicast)),
		slices.Concat(theirOpen(), keepalive, newMessage(typeRefresh, []byte{0, 1, 0, 1}), endOfRIB(IPv4Unicast)),
		slices.Concat(theirOpen(), newNotification(codeCease, ceaseShutdown, []byte("\x02hi"))),
		slices.Concat(theirOpen(), keepalive, newMessage(99, nil)),
		newMessage(typeOpen, []byte{4, 0, 1, 0, 90, 1, 1, 1, 1, 255, 255, 0, 9, 2, 0, 6, 1, 4, 0, 2, 0, 1}),
	} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := hearAll(stream)
		if err == nil {
			t.Fatal("a stream has no end")
		}
		r := bufio.NewReader(bytes.NewReader(got))
		for i := 0; ; i++ {
			m, err := readMessage(r)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("gobgp gets a stream that cannot be read: %v", err)
			}
			parsed, err := gobgp.ParseBGPMessage(m)
			if err != nil {
				t.Fatalf("gobgp cannot parse % x: %v", m, err)
			}
			kinds := []byte{typeUpdate, typeKeepalive, typeRefresh}
			switch i {
			case 0:
				kinds = []byte{typeOpen}
				if asn, err := gobgp.ValidateOpenMsg(parsed.Body.(*gobgp.BGPOpen), 64501, 64500, net.IPv4(192, 0, 2, 1)); err != nil {
					t.Fatalf("gobgp refuses the OPEN of AS %d: %v", asn, err)
				}
			case 1:
				kinds = []byte{typeKeepalive}
			}
			if !slices.Contains(kinds, m.kind()) {
				t.Fatalf("message %d that gobgp gets is of type %d", i, m.kind())
			}
			if update, ok := parsed.Body.(*gobgp.BGPUpdate); ok {
				if end, _ := update.IsEndOfRib(); !end {
					t.Fatalf("gobgp gets a route: % x", m)
				}
			}
		}
	})
}
