// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/lab"
)

// givenAnnounced creates a pool, pods and a Service, and returns its addresses and the
// node that announces them.
func (s *story) givenAnnounced(name string, f family) (addrs []netip.Addr, owner string) {
	s.Helper()
	p := s.givenPool(f)
	s.givenPods(s.nodes...)
	s.givenService(name, f)
	addrs = s.expectAssigned(name, p)
	owner = s.expectAnnounced(addrs[0])
	for _, addr := range addrs[1:] {
		s.expectAnnouncedBy(addr, owner)
	}
	return addrs, owner
}

// A node that is marked as no place for load balancers gives its addresses away; when
// the mark goes, it has them again.
func TestNodeGateByLabel(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		s.label(owner, corev1.LabelNodeExcludeBalancers, "true")
		for _, addr := range addrs {
			s.expectMoved(addr, owner)
		}
		s.expectReachable(addrs)

		s.label(owner, corev1.LabelNodeExcludeBalancers, "")
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
		s.expectReachable(addrs)
	})
}

// A node whose network is not set up is no place either.
func TestNodeGateByNetworkUnavailable(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		s.networkUnavailable(owner, corev1.ConditionTrue)
		for _, addr := range addrs {
			s.expectMoved(addr, owner)
		}
		s.expectReachable(addrs)

		s.networkUnavailable(owner, corev1.ConditionFalse)
		for _, addr := range addrs {
			s.expectAnnouncedBy(addr, owner)
		}
	})
}

// label labels a node until the story ends; no value takes the label away.
func (s *story) label(node, key, value string) {
	s.Helper()
	n, err := s.lab.Node(node)
	s.must(err)
	s.must(n.Label(s.ctx, key, value))
	s.afterwards(func() { s.check(n.Label(s.ctx, key, "")) })
}

func (s *story) networkUnavailable(node string, status corev1.ConditionStatus) {
	s.Helper()
	n, err := s.lab.Node(node)
	s.must(err)
	s.must(n.SetCondition(s.ctx, corev1.NodeNetworkUnavailable, status))
	s.afterwards(func() {
		s.check(n.SetCondition(s.ctx, corev1.NodeNetworkUnavailable, corev1.ConditionFalse))
	})
}

func TestAdvertisementByNode(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, unadvertised)
		s.givenPods(s.nodes...)
		s.givenService("web", f)
		addrs := s.expectAssigned("web", p)
		for _, addr := range addrs {
			s.expectSilence(addr) // no advertisement, no announcement
		}
		for _, node := range s.nodes {
			s.advertise(p, `nodeSelectors: [{matchLabels: {kubernetes.io/hostname: `+node+`}}]`)
			for _, addr := range addrs {
				s.expectAnnouncedBy(addr, node)
			}
			s.expectL2Status("web", node)
		}
		s.expectReachable(addrs)

		s.advertise(p, `nodeSelectors: [{matchLabels: {kubernetes.io/hostname: nowhere}}]`)
		for _, addr := range addrs {
			s.expectSilence(addr)
		}
		s.expectNoL2Status("web")
	})
}

func TestAdvertisementByInterface(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, unadvertised)
		s.givenPods(s.nodes...)
		s.givenService("web", f)
		addrs := s.expectAssigned("web", p)

		s.advertise(p, `interfaces: [`+lanLink+`]`)
		for _, addr := range addrs {
			s.expectAnnounced(addr)
		}
		s.expectReachable(addrs)
		s.expectL2Interfaces("web", lanLink)

		s.advertise(p, `interfaces: [eth9]`)
		for _, addr := range addrs {
			s.expectSilence(addr)
		}
		s.expectEvent("web", "announceFailed", addrs[0].String())

		s.advertise(p, `interfaces: [eth9, `+lanLink+`]`)
		for _, addr := range addrs {
			s.expectAnnounced(addr)
		}
		s.expectL2Interfaces("web", lanLink)
	})
}

// Whoever takes an address over says so at once to everybody on the LAN, so that hosts
// and switches need not find out.
func TestTakeoverIsSaidOnTheLAN(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		tap, err := s.client.Capture(lanLink)
		s.must(err)
		s.afterwards(func() { s.check(tap.Close()) })
		s.label(owner, corev1.LabelNodeExcludeBalancers, "true")
		next := map[netip.Addr]string{}
		for _, addr := range addrs {
			next[addr] = s.expectMoved(addr, owner)
		}
		s.expectSaid(tap, next)
	})
}

// expectSaid waits until a capture has shown each address be claimed, unasked, by its
// node.
func (s *story) expectSaid(tap *lab.Capture, by map[netip.Addr]string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for len(by) > 0 {
		frame, err := tap.Next(ctx)
		if err != nil {
			s.Fatalf("wait for the LAN to be told about %v: %v", by, err)
		}
		if addr, mac, ok := wire.Gratuitous(frame.Bytes); ok && by[addr] != "" && by[addr] == s.nodeOf[mac] {
			delete(by, addr)
		}
	}
}

// A host that has the address in its neighbour table checks from time to time whether
// that is still so, and asks the node alone (RFC 1122 section 2.3.2.1, RFC 4861 section
// 7.3): it gets an answer.
func TestNeighborUnreachabilityDetection(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		s.expectReachable(addrs)
		for _, addr := range addrs {
			mac, err := s.client.MACOf(addr)
			s.must(err)
			_, err = s.client.Exec(s.ctx, "ip", "neighbour", "replace", addr.String(), "lladdr", mac.String(), "dev", lanLink, "nud", "probe")
			s.must(err)
			s.await(patience, "the client to have "+addr.String()+" confirmed", func() error {
				out, err := s.client.Exec(s.ctx, "ip", "neighbour", "show", "to", addr.String(), "nud", "reachable")
				if err == nil && !strings.Contains(out, mac.String()) {
					err = fmt.Errorf("there is %q", out)
				}
				return err
			})
			if seen := s.clientSees(addr); seen != owner {
				s.Errorf("%s is confirmed to be at %s; want %s", addr, seen, owner)
			}
		}
	})
}

// What kubectl shows about announcements follows them: from node to node, and away.
func TestServiceL2Status(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		addrs, owner := s.givenAnnounced("web", f)
		s.expectL2Status("web", owner)
		s.expectL2Interfaces("web") // none named: all

		s.label(owner, corev1.LabelNodeExcludeBalancers, "true")
		next := s.expectMoved(addrs[0], owner)
		s.expectL2Status("web", next)

		s.deleteService("web")
		s.expectNoL2Status("web")
	})
}

// One change, one Event: none for what merely happens nearby.
func TestEventsOncePerChange(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		_, owner := s.givenAnnounced("web", f)
		s.expectEvents("web", "IPAllocated", 1)
		s.expectEvents("web", "nodeAssigned", 1)
		s.expectEvent("web", "nodeAssigned", owner)

		for _, word := range []string{"a", "b", "c"} {
			s.patchService("web", `{"metadata":{"labels":{"word":"`+word+`"}}}`)
		}
		s.deletePod(s.nodes[0]) // endpoints change
		s.givenService("other", f)
		s.expectAnnouncement("other")
		s.expectEvents("web", "IPAllocated", 1)
		s.expectEvents("web", "nodeAssigned", 1)

		s.label(owner, corev1.LabelNodeExcludeBalancers, "true")
		s.expectEvents("web", "nodeAssigned", 2)
		s.expectEvents("web", "IPAllocated", 1)
	})
}
