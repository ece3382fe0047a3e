// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
)

// Advertisements choose peers: one each, or two with communities of their own.
func TestPeerSelector(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("to-frr", `{peers: [frr], communities: ["64512:1"]}`)
	addresses := s.givenService("web", "Cluster")
	for _, a := range addresses {
		s.expectRoute(s.frr(), host(a), s.nodes, "64512:1")
		s.expectRoute(s.bird(), host(a), nil)
	}
	s.expectStatuses("web", s.nodes, "frr")
	s.advertise("to-bird", `{peers: [bird], communities: ["64512:2"]}`)
	for _, a := range addresses {
		s.expectRoute(s.frr(), host(a), s.nodes, "64512:1")
		s.expectRoute(s.bird(), host(a), s.nodes, "64512:2")
	}
	s.expectStatuses("web", s.nodes, "bird", "frr")
	s.advertise("to-frr", `{peers: [nobody], communities: ["64512:1"]}`)
	for _, a := range addresses {
		s.expectRoute(s.frr(), host(a), nil)
	}
	s.expectStatuses("web", s.nodes, "bird")
}

// on is a nodeSelectors of the node alone.
func on(node string) string {
	return fmt.Sprintf("nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]", node)
}

// Advertisements choose nodes, each for itself, and follow their labels.
func TestNodeSelector(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	addresses := s.givenService("web", "Cluster")
	s.advertise("one", "{"+on(s.nodes[0])+`}`)
	s.expectEverywhere(addresses, s.nodes[:1])
	s.expectStatuses("web", s.nodes[:1], "bird", "frr")
	s.advertise("other", "{"+on(s.nodes[1])+`}`)
	s.expectEverywhere(addresses, s.nodes[:2])
	s.advertise("one", "{nodeSelectors: [{matchLabels: {story: bgp}}]}")
	s.expectEverywhere(addresses, s.nodes[1:2])

	node := func(i int) *lab.Node {
		n, err := s.lab.Node(s.nodes[i])
		s.must(err)
		return n
	}
	s.afterwards(func() { s.must(node(2).Label(s.ctx, "story", "")) })
	s.must(node(2).Label(s.ctx, "story", "bgp"))
	s.expectEverywhere(addresses, s.nodes[1:])
	s.must(node(2).Label(s.ctx, "story", ""))
	s.expectEverywhere(addresses, s.nodes[1:2])
}

// Peers choose nodes, which may speak with numbers of their own.
func TestPeersOfNodes(t *testing.T) {
	s := begin(t, 0)
	for i, asn := range []int{64601, 4200000602} {
		for _, r := range s.routers {
			s.givenPeer(fmt.Sprint(r.name(), i), r, fmt.Sprintf("myASN: %d, peerAddress: %s, %s", asn, r.peer(false), on(s.nodes[i])))
		}
	}
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	want := map[string]string{s.nodes[0]: "64601", s.nodes[1]: "4200000602"}
	for _, r := range s.routers {
		s.expectPaths(r, host(addresses[0]), s.nodes[:2], func(p path) error {
			if asn := want[s.nodeOf[p.nextHop]]; p.asPath != asn {
				return fmt.Errorf("want AS path %s", asn)
			}
			return nil
		})
		if n, err := r.established(s.ctx); err != nil || n != 2 {
			t.Errorf("%s has %d sessions, error %v; want 2", r.name(), n, err)
		}
	}
}

// Advertisements choose Services: by one of several selectors, and by pool too; they
// follow labels, and add up where they meet.
func TestServiceSelector(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("some", `{ipAddressPools: [bgp], serviceSelectors: [{matchLabels: {app: web}}, {matchLabels: {app: db}}], communities: ["64512:1"]}`)
	s.advertise("elsewhere", `{ipAddressPools: [other], serviceSelectors: [{matchLabels: {app: mail}}], communities: ["64512:2"]}`)
	web, db, mail := s.givenService("web", "Cluster"), s.givenService("db", "Cluster"), s.givenService("mail", "Cluster")
	s.expectEverywhere(web, s.nodes, "64512:1")
	s.expectEverywhere(db, s.nodes, "64512:1")
	s.expectEverywhere(mail, nil)
	s.expectStatuses("mail", nil)

	s.advertise("web", `{serviceSelectors: [{matchLabels: {app: web}}], communities: ["64512:3"]}`)
	s.expectEverywhere(web, s.nodes, "64512:1", "64512:3")
	s.expectEverywhere(db, s.nodes, "64512:1")
	s.kubectl("label", "service", "mail", "app=web", "--overwrite", "-n", s.ns)
	s.expectEverywhere(mail, s.nodes, "64512:1", "64512:3")

	// A pool that is aggregated, and one Service of it besides.
	s.advertise("some", `{ipAddressPools: [bgp], serviceSelectors: [{matchLabels: {app: db}}], peers: [frr], communities: ["64512:4"]}`)
	s.advertise("pool", `{aggregationLength: 25, aggregationLengthV6: 121}`)
	for i, length := range []int{25, 121} {
		for _, r := range s.routers {
			s.expectRoute(r, aggregate(web[i], length), s.nodes)
		}
		s.expectRoute(s.frr(), host(db[i]), s.nodes, "64512:4")
		s.expectRoute(s.bird(), host(db[i]), nil)
		s.expectRoute(s.bird(), host(web[i]), s.nodes, "64512:3")
	}
}
