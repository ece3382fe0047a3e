// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

// AS numbers have four octets, and one peer may see another than the rest. A peer that is
// external may have any number but ours.
func TestSystems(t *testing.T) {
	s := begin(t, 0)
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	for _, c := range []struct{ spec, path string }{
		{"myASN: 4200000001", "4200000001"},
		{"myASN: 64512, localASN: 64520", "64520"},
		{"myASN: 64512, localASN: 4200000002, dynamicASN: external", "4200000002"},
		{"myASN: 64512, dynamicASN: external, routerID: 10.20.30.40, sourceAddress: 192.0.2.12, " + on(s.nodes[1]), "64512"},
	} {
		nodes := s.nodes
		for _, r := range s.routers {
			s.givenPeer(r.name(), r, fmt.Sprintf("peerAddress: %s, dualStackAddressFamily: true, %s", r.peer(false), c.spec))
		}
		if c.spec[len(c.spec)-1] == ']' { // it has a selector
			nodes = nodes[1:2]
		}
		s.expectASPath(addresses, nodes, c.path)
	}
	neighbors, err := s.frr().neighbors(s.ctx)
	s.must(err)
	if id := neighbors["192.0.2.12"].RemoteRouterID; id != "10.20.30.40" {
		t.Errorf("FRR sees the router ID %s", id)
	}
}

// The times of a session are what was asked for, as far as the peer agrees.
func TestTimers(t *testing.T) {
	s := begin(t)
	s.givenPeers(false, ", keepaliveTime: 2s")
	s.givenPeer("frr", s.frr(), "myASN: 64512, peerAddress: 192.0.2.1, holdTime: 6s, keepaliveTime: 2s, enableGracefulRestart: true")
	s.await(patience, "the hold time in FRR", func() error {
		neighbors, err := s.frr().neighbors(s.ctx)
		n := neighbors["192.0.2.11"]
		if err == nil && (n.BgpState != "Established" || n.BgpTimerHoldTimeMsecs != 6000 || n.BgpTimerKeepAliveMsecs != 2000) {
			err = fmt.Errorf("it has %+v", n)
		}
		if err == nil && n.NeighborCapabilities.GracefulRestart != "advertisedAndReceived" {
			err = fmt.Errorf("graceful restart is %q", n.NeighborCapabilities.GracefulRestart)
		}
		return err
	})
}

// Peers come and go one by one, and those that stay notice nothing.
func TestPeersOneByOne(t *testing.T) {
	s := begin(t, 0)
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	spec := func(r router) string {
		return fmt.Sprintf("myASN: 64512, dualStackAddressFamily: true, peerAddress: %s", r.peer(false))
	}
	s.givenPeer("frr", s.frr(), spec(s.frr()))
	s.expectRoute(s.frr(), host(addresses[0]), s.nodes)
	s.givenPeer("bird", s.bird(), spec(s.bird()))
	s.expectEverywhere(addresses, s.nodes)

	// The younger of two for one address is not had, and told so.
	s.givenPeer("again", s.frr(), spec(s.frr()))
	s.await(patience, "an Event about the conflict", func() error {
		if messages := s.eventsOfPeer("again", "Conflict"); len(messages) != 1 {
			return fmt.Errorf("there are %q", messages)
		}
		return nil
	})
	s.kubectl("delete", "bgppeer", "bird", "-n", heraldNS)
	s.expectRoute(s.bird(), host(addresses[0]), nil)
	s.expectUnbroken("frr")
	s.expectEverywhereOn(s.frr(), addresses)
	s.kubectl("delete", "bgppeer", "frr", "-n", heraldNS)
	s.expectEvents("again", "SessionEstablished", s.nodes, "")
	s.expectEverywhereOn(s.frr(), addresses)
}

func (s *story) expectEverywhereOn(r router, addresses [2]netip.Addr) {
	s.Helper()
	for _, a := range addresses {
		s.expectRoute(r, host(a), s.nodes)
	}
}

// Peers of the older version of the API are peers.
func TestOlderVersion(t *testing.T) {
	s := begin(t, 0)
	for _, r := range s.routers {
		s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system}
spec: {myASN: 64512, peerASN: %d, peerAddress: %s, peerPort: 179, holdTime: 30s, keepaliveTime: 10s, routerID: 10.0.0.7,
  nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]}]}
`, r.name(), r.asn(), r.peer(false), s.nodes[2]))
	}
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	for _, r := range s.routers {
		s.expectRoute(r, host(addresses[0]), s.nodes[2:])
	}
}

// A password comes from the peer, or from a Secret, and follows it when it is rotated,
// without a restart.
func TestPasswords(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	pids := s.speakers()
	s.configureNodes("neighbor nodes password one")
	s.configureBIRD("error wait", "password \"two\"; error wait")
	s.apply(secret("Opaque", "one"))
	s.givenPeer("frr", s.frr(), "myASN: 64512, peerAddress: 192.0.2.1, passwordSecret: {name: md5}")
	s.givenPeer("bird", s.bird(), "myASN: 64512, peerAddress: 192.0.2.2, password: two")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectRoute(s.bird(), host(addresses[0]), s.nodes)
	s.await(patience, "an Event about the type of the Secret", func() error {
		if len(s.eventsOfPeer("frr", "Invalid")) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	s.kubectl("delete", "secret", "md5", "-n", heraldNS)
	s.apply(secret("kubernetes.io/basic-auth", "one"))
	s.expectRoute(s.frr(), host(addresses[0]), s.nodes)

	s.configureNodes("neighbor nodes password two")
	s.apply(secret("kubernetes.io/basic-auth", "two"))
	s.expectRoute(s.frr(), host(addresses[0]), s.nodes)
	s.kubectl("delete", "secret", "md5", "-n", heraldNS)
	s.expectRoute(s.frr(), host(addresses[0]), nil)
	s.expectRoute(s.bird(), host(addresses[0]), s.nodes)
	s.expectSpeakers(pids)
}

func secret(kind, password string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: md5, namespace: metallb-system}
type: %s
stringData: {password: %s}
`, kind, password)
}

// speakers returns the speakers' processes.
func (s *story) speakers() (pids []int) {
	s.Helper()
	for _, node := range s.nodes {
		pid, err := s.lab.PID(node + "/speaker")
		s.must(err)
		pids = append(pids, pid)
	}
	return pids
}

// expectSpeakers fails unless the speakers are the processes that they were.
func (s *story) expectSpeakers(were []int) {
	s.Helper()
	for i, pid := range s.speakers() {
		if pid != were[i] {
			s.Errorf("the speaker on %s is process %d, and was %d", s.nodes[i], pid, were[i])
		}
	}
}

// Unnumbered peers are found at the other end of their cables; routes of both families
// have link-local next hops, and BFD guards the sessions.
func TestUnnumbered(t *testing.T) {
	s := begin(t, 0, 1, 2)
	s.givenProfile("slow", "{receiveInterval: 300, transmitInterval: 300}")
	for _, r := range s.routers {
		s.givenPeer(r.name(), r, fmt.Sprintf("myASN: 64512, interface: %s, bfdProfile: slow", r.cable()))
	}
	s.advertise("all", "{}")
	web, bird := s.givenService("web", "Local"), s.givenService("behind-bird", "Local", behindBIRD())
	linkLocal := func(p path) error {
		if a, err := netip.ParseAddr(p.nextHop); err != nil || !a.IsLinkLocalUnicast() {
			return fmt.Errorf("want a link-local next hop (RFC 8950), error %w", err)
		}
		return nil
	}
	for _, r := range s.routers {
		for _, a := range append(web[:], bird[:]...) {
			s.expectPaths(r, host(a), s.nodes, linkLocal)
		}
	}
	s.expectBFD(len(s.nodes))
	for _, a := range append(web[:], bird[:]...) {
		s.expectAnswer(a)
	}
	s.expectStatuses("web", s.nodes, "bird", "frr")
	s.must(s.lab.CutLink(s.nodes[0] + ":eth2"))
	s.afterwards(func() { s.must(s.lab.RestoreLink(s.nodes[0] + ":eth2")) })
	s.expectPaths(s.frr(), host(web[0]), s.nodes[1:], linkLocal)
	s.expectPaths(s.bird(), host(web[0]), s.nodes, linkLocal)
	s.must(s.lab.RestoreLink(s.nodes[0] + ":eth2"))
	s.expectPaths(s.frr(), host(web[0]), s.nodes, linkLocal)
}

// A session in a VRF is one that is bound to the VRF's device. The kernels that this runs
// on need not have VRFs: an ordinary device shows the binding.
func TestDevice(t *testing.T) {
	s := begin(t, 0)
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	for _, r := range s.routers {
		s.givenPeer(r.name(), r, fmt.Sprintf("myASN: 64512, peerAddress: %s, dualStackAddressFamily: true, vrf: eth1", r.peer(false)))
	}
	s.expectEverywhere(addresses, s.nodes)
	for _, r := range s.routers {
		s.givenPeer(r.name(), r, fmt.Sprintf("myASN: 64512, peerAddress: %s, dualStackAddressFamily: true, vrf: eth0", r.peer(false)))
	}
	s.expectEverywhere(addresses, nil)
}

// A router that heeds only what comes from beside it (GTSM, RFC 5082) has a session with
// peers that ask for it, and with no others.
func TestTTLSecurity(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.restartFRR() // neighbors that it keeps for a graceful restart would keep their TTL as well
	s.configureNodes("neighbor nodes ttl-security hops 1")
	s.configureBIRD(`external; dynamic name "four"`, `external; ttl security on; dynamic name "four"`)
	s.advertise("all", "{}")
	a := s.givenService("web", "Cluster")[0]
	for _, r := range s.routers {
		// From the beginning: BIRD takes any connection, heeds nothing that comes over it from
		// too far away, not even its end, and takes no other one for 240 s.
		s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system, annotations: {herald-lb.io/ttl-security: "1"}}
spec: {connectTime: 1s, myASN: 64512, peerASN: %d, peerAddress: %s}
`, r.name(), r.asn(), r.peer(false)))
		s.expectRoute(r, host(a), s.nodes)
		s.kubectl("annotate", "bgppeer", r.name(), "herald-lb.io/ttl-security-", "-n", heraldNS)
		s.expectRoute(r, host(a), nil)
	}
}
