// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// With externalTrafficPolicy: Cluster every node can be the one that announces, also
// one that has no pod.
func TestPolicyCluster(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		s.givenService("web", f)
		addrs := s.expectAssigned("web", p)
		for _, addr := range addrs {
			s.expectSilence(addr) // no pod, no announcement
		}
		for _, node := range s.nodes {
			s.givenPods(node)
			for _, addr := range addrs {
				s.expectAnnounced(addr)
				s.awaitAnswerFrom(addr, node)
			}
			s.deletePod(node)
		}
	})
}

// awaitAnswerFrom waits until the pod on a node answers at addr.
func (s *story) awaitAnswerFrom(addr netip.Addr, node string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("the pod on %s to answer at %s", node, addr), func() error {
		if reply := s.expectAnswer("http", addr, 80); reply.Node != node {
			return fmt.Errorf("answer from the one on %s", reply.Node)
		}
		return nil
	})
}

// With externalTrafficPolicy: Local the node that announces has a pod, the pod sees the
// client's own address, and the announcement follows the pod.
func TestPolicyLocal(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		s.givenService("web", f, local)
		addrs := s.expectAssigned("web", p)
		for _, node := range s.nodes {
			s.givenPods(node)
			for _, addr := range addrs {
				s.expectAnnouncedBy(addr, node)
				s.awaitAnswerFrom(addr, node)
				s.expectClientPreserved(addr)
			}
			s.deletePod(node)
		}
		for _, addr := range addrs {
			s.expectSilence(addr)
		}
	})
}

// A pod that is not ready gets nothing to do: with externalTrafficPolicy: Local its node
// stops to announce, and when no pod is left nobody does.
func TestUnreadyPods(t *testing.T) {
	s := begin(t)
	p := s.givenPool(dual)
	s.givenPods(s.nodes...)
	s.givenService("web", dual, local)
	addrs := s.expectAssigned("web", p)
	var owner string
	for range s.nodes {
		owner = s.expectAnnounced(addrs[0])
		s.expectAnnouncedBy(addrs[1], owner)
		s.must(s.lab.SetReady(s.ctx, s.ns, "echo-"+owner, false))
		for _, addr := range addrs {
			s.expectNotAnnouncedBy(addr, owner)
		}
	}
	for _, addr := range addrs {
		s.expectSilence(addr)
	}
	s.must(s.lab.SetReady(s.ctx, s.ns, "echo-"+owner, true))
	for _, addr := range addrs {
		s.expectAnnouncedBy(addr, owner)
	}
	s.expectReachable(addrs)
}

// expectClientPreserved fails unless the pod sees the question come from the client.
func (s *story) expectClientPreserved(addr netip.Addr) {
	s.Helper()
	reply := s.expectAnswer("http", addr, 80)
	want := netip.MustParseAddr("192.0.2.101")
	if addr.Is6() {
		want = netip.MustParseAddr("2001:db8:2::101")
	}
	if got := reply.Client.Addr(); got != want {
		s.Errorf("the pod saw %s ask at %s; want the client's own %s", got, addr, want)
	}
}

func TestProtocolsAndPorts(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f)
		s.givenPods(s.nodes...)
		s.givenService("mixed", f, exposing(
			port(corev1.ProtocolTCP, 80), port(corev1.ProtocolTCP, 8443), port(corev1.ProtocolUDP, 5353)))
		for _, addr := range s.expectAssigned("mixed", p) {
			s.expectAnswer("http", addr, 80)
			s.expectAnswer("tcp", addr, 8443)
			s.expectAnswer("udp", addr, 5353)
		}
		s.givenService("datagrams", f, exposing(port(corev1.ProtocolUDP, 53)))
		for _, addr := range s.expectAssigned("datagrams", p) {
			s.expectAnswer("udp", addr, 53)
		}
	})
}
