// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"testing"
)

// mute has a node's answers for addresses lost on their way out, and nothing else, until
// the story ends or hear is called.
func (s *story) mute(node string, addrs []netip.Addr) (hear func()) {
	s.Helper()
	n, err := s.lab.Node(node)
	s.must(err)
	rules := [][]string{
		{"add", "table", "netdev", "mute"},
		{"add", "chain", "netdev", "mute", "out", "{ type filter hook egress device " + lanLink + " priority 0; }"},
	}
	for _, addr := range addrs {
		match := "arp saddr ip " + addr.String()
		if addr.Is6() {
			match = fmt.Sprintf("icmpv6 type nd-neighbor-advert @th,64,128 %#x", addr.As16()) // its target
		}
		rules = append(rules, []string{"add", "rule", "netdev", "mute", "out", match + " drop"})
	}
	hear = func() {
		s.Helper()
		_, err := n.Exec(context.WithoutCancel(s.ctx), "nft", "add table netdev mute; delete table netdev mute")
		s.check(err)
	}
	s.afterwards(hear)
	for _, rule := range rules {
		_, err := n.Exec(s.ctx, "nft", rule...)
		s.must(err)
	}
	return hear
}

// A node that takes part in the cluster and does not answer for an address that is its
// own is reported by the next in line, who takes nothing over.
func TestOwnerThatDoesNotAnswer(t *testing.T) {
	s := begin(t)
	s.givenFlag("daemonset/speaker", "--l2-selfcheck-interval=2s")
	addrs, owner := s.givenAnnounced("web", dual)
	reader := s.givenAccount("reader", "metallb-system:metrics-reader")

	moves := len(s.eventsFor("web", "nodeAssigned"))
	hear := s.mute(owner, addrs)
	for _, addr := range addrs {
		s.expectSilence(addr)
		s.expectEvent("web", "OwnerNotAnswering", fmt.Sprintf("node %q is to announce %s", owner, addr))
		next := s.nextInLine("web", addr)
		s.expectMetrics(s.speakerOn(next), reader, map[string]string{
			`herald_layer2_selfcheck_silent{ip="` + addr.String() + `",owner="` + owner + `"}`: "1",
		})
	}

	hear()
	for _, addr := range addrs {
		s.expectEvent("web", "OwnerAnswering", addr.String()+" is answered for again")
		s.expectAnnouncedBy(addr, owner)
	}
	s.expectReachable(addrs)
	s.expectEvents("web", "OwnerNotAnswering", len(addrs))
	s.expectEvents("web", "nodeAssigned", moves) // it has never been taken over
}

// nextInLine returns the node that has reported the owner of an address.
func (s *story) nextInLine(service string, addr netip.Addr) string {
	s.Helper()
	asked := regexp.MustCompile(regexp.QuoteMeta(addr.String()) + ` .* asked by node "(.+?)"`)
	for _, event := range s.eventsFor(service, "OwnerNotAnswering") {
		if m := asked.FindStringSubmatch(event); m != nil {
			return m[1]
		}
	}
	s.Fatalf("no Event says who has asked for %s: %q", addr, s.eventsFor(service, "OwnerNotAnswering"))
	return ""
}
