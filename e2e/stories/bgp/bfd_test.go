// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The settings of a BFDProfile are those that the routers are told, over IPv4 and IPv6; they
// follow it, and sessions stay up meanwhile. Without settings there are defaults.
func TestBFDProfile(t *testing.T) {
	s := begin(t, 0)
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	for _, v6 := range []bool{false, true} {
		s.givenProfile("default", "{}")
		s.givenPeers(v6, ", dualStackAddressFamily: true, bfdProfile: default")
		s.expectTold(frrBFD{RemoteReceiveInterval: 300, RemoteTransmitInterval: 300, RemoteDetectMultiplier: 3}, "0.900")
		s.givenProfile("default", "{receiveInterval: 400, transmitInterval: 200, detectMultiplier: 5}")
		s.expectTold(frrBFD{RemoteReceiveInterval: 400, RemoteTransmitInterval: 200, RemoteDetectMultiplier: 5}, "1.000")
		s.givenProfile("passive", "{receiveInterval: 400, transmitInterval: 200, detectMultiplier: 4, passiveMode: true}")
		s.givenPeers(v6, ", dualStackAddressFamily: true, bfdProfile: passive")
		s.expectTold(frrBFD{RemoteReceiveInterval: 400, RemoteTransmitInterval: 200, RemoteDetectMultiplier: 4}, "0.800")
		s.expectEverywhere(addresses, s.nodes)
		s.expectMetric(s.nodes[0], fmt.Sprintf(`metallb_bfd_session_up{peer=%q,vrf=""}`, s.frr().peer(v6)), exactly(1))
		s.expectMetric(s.nodes[0], fmt.Sprintf(`metallb_bfd_control_packet_input{peer=%q,vrf=""}`, s.bird().peer(v6)), atLeast(3))
		s.kubectl("delete", "bgppeers", "--all", "-n", heraldNS)
		s.expectBFD(0)
	}
}

// expectTold waits until FRR has a BFD session with each node, and has been told this, and
// BIRD, which tells only the result, has this timeout.
func (s *story) expectTold(want frrBFD, timeout string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%+v in FRR", want), func() error {
		up, err := s.frr().bfd(s.ctx)
		if err == nil && len(up) != len(s.nodes) {
			err = fmt.Errorf("%d sessions are up", len(up))
		}
		for _, b := range up {
			got := frrBFD{
				RemoteReceiveInterval: b.RemoteReceiveInterval, RemoteTransmitInterval: b.RemoteTransmitInterval,
				RemoteDetectMultiplier: b.RemoteDetectMultiplier,
			}
			if got != want {
				err = errors.Join(err, fmt.Errorf("%s has told %+v", b.Peer, got))
			}
		}
		return err
	})
	s.await(patience, "a timeout of "+timeout+" in BIRD", func() error {
		timeouts, err := s.bird().bfd(s.ctx)
		if err == nil && len(timeouts) != len(s.nodes) {
			err = fmt.Errorf("%d sessions are up", len(timeouts))
		}
		for _, got := range timeouts {
			if got != timeout {
				err = errors.Join(err, fmt.Errorf("one is %s", got))
			}
		}
		return err
	})
}

// With echo mode packets of each side come back from the other. BIRD has none.
func TestEcho(t *testing.T) {
	s := begin(t, 0)
	s.configureFRR("bfd", "profile fast", "transmit-interval 200", "receive-interval 200", "echo-mode")
	s.afterwards(func() {
		s.configureFRR("bfd", "profile fast", "transmit-interval 50", "receive-interval 50", "no echo-mode")
	})
	s.givenProfile("echo", "{receiveInterval: 200, transmitInterval: 200, echoMode: true, echoInterval: 100}")
	s.givenPeer("frr", s.frr(), "myASN: 64512, peerAddress: 192.0.2.1, dualStackAddressFamily: true, bfdProfile: echo")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhereOn(s.frr(), addresses)
	s.await(patience, "echo packets at FRR", func() error {
		up, err := s.frr().bfd(s.ctx)
		if err != nil || len(up) != len(s.nodes) {
			return fmt.Errorf("%d sessions are up, error %w", len(up), err)
		}
		var counters []map[string]any
		if err := s.frr().ask(s.ctx, "show bfd peers counters", &counters); err != nil {
			return err
		}
		echoed := make(map[any]float64) // by peer; FRR counts for sessions of the past as well
		for _, c := range counters {
			echoed[c["peer"]], _ = c["echo-packet-input"].(float64)
		}
		for _, b := range up {
			if b.RemoteEchoReceiveInterval != 100 {
				return fmt.Errorf("FRR was told an interval of %d", b.RemoteEchoReceiveInterval)
			}
			if echoed[b.Peer] < 3 {
				return fmt.Errorf("its counters are %v", counters)
			}
		}
		return nil
	})
	const peer = `{peer="192.0.2.1",vrf=""}`
	s.expectMetric(s.nodes[0], "metallb_bfd_echo_packet_output"+peer, atLeast(3))
	s.expectMetric(s.nodes[0], "metallb_bfd_echo_packet_input"+peer, atLeast(3))
	s.expectUnbroken("frr")
}

// edgeConfig is BIRD on the client, which is a hop away from the nodes.
const edgeConfig = `
router id 203.0.113.101;
protocol device {}
protocol static { ipv4; route 192.0.2.0/24 via 203.0.113.1; }
protocol static { ipv6; route 2001:db8:2::/64 via 2001:db8:113::1; }
protocol bfd { multihop { interval 100 ms; multiplier 3; }; }
protocol bgp nodes4 {
  local 203.0.113.101 as 4200000599;
  neighbor range 192.0.2.0/24 external;
  multihop;
  bfd on;
  error wait time 1, 2;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`

// Peers that are a hop away have sessions over more than one hop, with BFD over more than
// one hop, which heeds the least TTL: BIRD sends its packets with one of 64.
func TestMultihop(t *testing.T) {
	s := begin(t, 0)
	edge, err := startBIRD(s.client, filepath.Join(s.lab.Dir(), "edge"), edgeConfig)
	s.must(err)
	s.Cleanup(func() { _ = edge.stop() })
	s.givenProfile("far", "{receiveInterval: 100, transmitInterval: 100, minimumTtl: 200}")
	peer := func(more string) {
		s.apply(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: edge, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 4200000599, peerAddress: 203.0.113.101, connectTime: 1s, dualStackAddressFamily: true` + more + `}
`)
	}
	s.advertise("all", "{}")
	a := s.givenService("web", "Cluster")[0]
	peer(", ebgpMultiHop: true, bfdProfile: far")
	s.expectRoute(edge, host(a), s.nodes)
	s.await(patience, "BIRD to hear nodes that do not hear it", func() error {
		out, err := edge.ask(s.ctx, "show", "bfd", "sessions")
		if err == nil && strings.Count(out, " Init ") != len(s.nodes) {
			err = fmt.Errorf("it has %s", out)
		}
		return err
	})
	s.givenProfile("far", "{receiveInterval: 100, transmitInterval: 100, minimumTtl: 60}")
	s.await(patience, "BFD over two hops", func() error {
		n, err := edge.bfdUp(s.ctx)
		if err == nil && n != len(s.nodes) {
			err = fmt.Errorf("%d sessions are up", n)
		}
		return err
	})
	s.expectRoute(edge, host(a), s.nodes)
	peer("")
	s.expectRoute(edge, host(a), nil)
}

// FRR takes sessions over more than one hop too. Its second network is reached by way of
// BIRD.
func TestMultihopFRR(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("neighbor nodes ebgp-multihop 8")
	node, err := s.lab.Node(s.nodes[0])
	s.must(err)
	_, err = node.Exec(s.ctx, "ip", "route", "add", "203.0.113.1/32", "via", "192.0.2.2")
	s.must(err)
	s.afterwards(func() {
		_, err := node.Exec(context.WithoutCancel(s.ctx), "ip", "route", "del", "203.0.113.1/32")
		s.must(err)
	})
	s.advertise("all", "{}")
	a := s.givenService("web", "Cluster")[0]
	s.givenProfile("far", "{receiveInterval: 100, transmitInterval: 100, minimumTtl: 254}")
	s.givenPeer("frr", s.frr(), "myASN: 64512, peerAddress: 203.0.113.1, ebgpMultiHop: true, bfdProfile: far, "+on(s.nodes[0]))
	s.expectRoute(s.frr(), host(a), s.nodes[:1])
	s.await(patience, "BFD over two hops", func() error {
		up, err := s.frr().bfd(s.ctx)
		if err == nil && (len(up) != 1 || !up[0].Multihop) {
			err = fmt.Errorf("there are %+v", up)
		}
		return err
	})
	s.givenPeer("frr", s.frr(), "myASN: 64512, peerAddress: 203.0.113.1, ebgpMultiHop: false, "+on(s.nodes[0]))
	s.expectRoute(s.frr(), host(a), nil)
}
