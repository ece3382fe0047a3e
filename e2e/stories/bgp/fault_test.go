// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// refusals are ways in which a router and its peer do not agree, and what is said of it.
var refusals = []struct {
	name, spec, words string
}{
	{"wrong ASN", "peerASN: 65000", "Bad Peer AS"},
	{"wrong kind of ASN", "dynamicASN: internal", "Bad Peer AS"},
	{"wrong password", "password: unknown", "another password"},
}

// A router that refuses us is told of once, in words; the other one goes on, and when the
// mistake is corrected, all is well.
func TestRefusingRouter(t *testing.T) {
	for i, r := range []string{"frr", "bird"} {
		t.Run(r, func(t *testing.T) {
			s := begin(t, 0)
			refusing, other := s.routers[i], s.routers[1-i]
			s.givenPeers(false, "")
			s.advertise("all", "{}")
			a := s.givenService("web", "Cluster")[0]
			for _, c := range refusals {
				s.kubectl("delete", "bgppeer", r, "-n", heraldNS)
				s.expectRoute(refusing, host(a), nil)
				s.givenPeer(r, refusing, fmt.Sprintf("myASN: 64512, peerAddress: %s, %s", refusing.peer(false), c.spec))
				s.expectEvents(r, "SessionFailed", s.nodes, c.words)
				s.expectOnce(r, c.name)
			}
			s.givenPeer(r, refusing, fmt.Sprintf("myASN: 64512, peerAddress: %s, password: ''", refusing.peer(false)))
			s.expectRoute(refusing, host(a), s.nodes)
			s.expectRoute(other, host(a), s.nodes)
			s.expectUnbroken(other.name())
		})
	}
}

// expectOnce fails if a node has said the same thing twice.
func (s *story) expectOnce(peer, mistake string) {
	s.Helper()
	messages := s.eventsOfPeer(peer, "SessionFailed")
	slices.Sort(messages)
	s.Logf("%s: %q", mistake, messages)
	if n := len(messages); n != len(slices.Compact(messages)) {
		s.Errorf("%s: said more than once", mistake)
	}
}

// A router that does not take a family gets the routes of the other one, and the Event
// says which is missing.
func TestRefusedFamily(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("address-family ipv6 unicast", "no neighbor nodes activate")
	s.configureBIRD("  ipv6 { import filter accepted; export none; };\n", "")
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	for _, r := range s.routers {
		s.expectRoute(r, host(addresses[0]), s.nodes)
		s.expectEvents(r.name(), "SessionFailed", s.nodes, "ipv6-unicast")
		s.expectRoute(r, host(addresses[1]), nil)
	}
}

// A router that is restarted has its routes again as soon as it is there; the other one
// notices nothing.
func TestRouterRestarts(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	pids := s.speakers()

	s.restartFRR()
	s.expectEvents("frr", "SessionDown", s.nodes, "")
	s.expectEverywhere(addresses, s.nodes)
	s.expectUnbroken("bird")

	s.must(s.bird().stop())
	s.must(s.bird().start())
	s.must(hurry(s.bird().process.Process.Pid))
	s.expectEvents("bird", "SessionDown", s.nodes, "")
	s.expectEverywhere(addresses, s.nodes)
	s.expectSpeakers(pids)
}

// misdeeds are what a router may do, in place of an OPEN or once the session is up, and
// what is said of it.
var misdeeds = []struct {
	name        string
	first, then []byte
	words       string
}{
	{name: "http", first: []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), words: "Message Header Error"},
	{name: "version", first: open(3, rogueASN, 90), words: "Unsupported Version Number"},
	{name: "system", first: open(4, 64598, 90), words: "Bad Peer AS"},
	{name: "hold-time", first: open(4, rogueASN, 1), words: "Unacceptable Hold Time"},
	{name: "type", then: message(9), words: "Bad Message Type"},
	{name: "second-open", then: open(4, rogueASN, 90), words: "Finite State Machine Error"},
	{name: "short", then: append(message(typeKeepalive)[:16], 0, 18, 4), words: "Bad Message Length"},
	{name: "long", then: append(message(typeKeepalive)[:16], 0xff, 0xff, 2), words: "Bad Message Length"},
	{name: "marker", then: make([]byte, 64), words: "Connection Not Synchronized"},
	{name: "lengths", then: message(typeUpdate, 0xff, 0xff, 0, 0), words: "Malformed Attribute List"},
}

// Routers that send what they should not cost their own sessions, and are told of. Nobody
// else notices: not the routers beside them, nor the speakers' processes.
func TestMalformedMessages(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	pids := s.speakers()
	var rogues []*rogue
	for i, m := range misdeeds {
		r := s.givenRogue(fmt.Sprintf("192.0.2.%d", 70+i), m.first, func(conn net.Conn) { _, _ = conn.Write(m.then) })
		s.givenRoguePeer("rogue-"+m.name, r)
		rogues = append(rogues, r)
	}
	for i, m := range misdeeds {
		reason := "SessionDown"
		if m.then == nil {
			reason = "SessionFailed"
		}
		s.expectEvents("rogue-"+m.name, reason, s.nodes, m.words)
		// Each is tried again, and then it may be said again.
		connections := int(rogues[i].connections.Load())
		if said := s.eventsOfPeer("rogue-"+m.name, reason); len(said) > connections {
			t.Errorf("%s: %d Events about %d connections: %q", m.name, len(said), connections, said)
		}
	}
	late := s.givenService("late", "Cluster")
	s.expectEverywhere(late, s.nodes)
	s.expectEverywhere(addresses, s.nodes)
	s.expectUnbroken("frr", "bird")
	s.expectSpeakers(pids)
}

// A malformed path attribute of a route that is refused anyway costs nothing (RFC 7606),
// nor does a full table: it is refused, and counted.
func TestFullTable(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	pids := s.speakers()
	const routes = 100_000
	r := s.givenRogue("192.0.2.66", nil, func(conn net.Conn) {
		fullTable(conn, routes)
		_, _ = conn.Write(update([]byte{0x40, 1, 1, 77}, []byte{24, 11, 0, 0})) // ORIGIN 77
	})
	s.givenRoguePeer("rogue", r)
	for _, node := range s.nodes {
		s.expectMetric(node, `herald_bgp_refused_prefixes{peer="192.0.2.66:179",vrf=""}`, exactly(routes+1))
	}
	s.await(patience, "our routes at the rogue", func() error {
		if n := int(r.updates.Load()); n < len(s.nodes) {
			return fmt.Errorf("%d UPDATEs have come", n)
		}
		return nil
	})
	for _, node := range s.nodes {
		n, err := s.lab.Node(node)
		s.must(err)
		if out, err := n.Exec(s.ctx, "ip", "route", "show", "10.0.0.1"); err != nil || out != "" {
			t.Errorf("%s has a route of the rogue's: %s, error %v", node, out, err)
		}
	}
	late := s.givenService("late", "Cluster")
	s.expectEverywhere(late, s.nodes)
	s.expectUnbroken("frr", "bird", "rogue")
	s.expectSpeakers(pids)
}

// What routers advertise to us is refused, and counted.
func TestReceivedRoutes(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("address-family ipv4 unicast", "redistribute connected")
	s.configureBIRD("export none; extended", "export all; extended", "protocol device {}",
		"protocol device {}\nprotocol static { ipv4; route 10.1.0.0/16 blackhole; route 10.2.0.0/16 blackhole; }")
	s.givenPeers(false, "")
	s.advertise("all", "{}")
	a := s.givenService("web", "Cluster")[0]
	for _, r := range s.routers {
		s.expectRoute(r, host(a), s.nodes)
		s.expectMetric(s.nodes[0], fmt.Sprintf(`herald_bgp_refused_prefixes{peer="%s:179",vrf=""}`, r.peer(false)), atLeast(2))
	}
	node, err := s.lab.Node(s.nodes[0])
	s.must(err)
	if out, err := node.Exec(s.ctx, "ip", "route", "show", netip.MustParsePrefix("10.1.0.0/16").String()); err != nil || out != "" {
		t.Errorf("the node has a route of BIRD's: %s, error %v", out, err)
	}
}
