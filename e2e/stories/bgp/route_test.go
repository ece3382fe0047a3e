// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// transport is how routes get to a router: over sessions of which family, and whether one
// session carries both.
type transport struct {
	name string
	// over says for each session whether it is one over IPv6.
	over []bool
	dual bool
}

var transports = []transport{
	{name: "ipv4", over: []bool{false}},
	{name: "ipv6", over: []bool{true}},
	{name: "ipv4 and ipv6", over: []bool{false, true}},
	{name: "both over ipv4", over: []bool{false}, dual: true},
	{name: "both over ipv6", over: []bool{true}, dual: true},
}

// carries returns those of a Service's addresses that get to the routers.
func (tr transport) carries(addresses [2]netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses[:]), func(a netip.Addr) bool {
		return !tr.dual && !slices.Contains(tr.over, a.Is6())
	})
}

// givenSessions makes both routers peers by this transport, and returns the peers' names.
func (s *story) givenSessions(tr transport) (names []string) {
	s.Helper()
	for _, r := range s.routers {
		for _, v6 := range tr.over {
			name := r.name()
			if v6 {
				name += "6"
			}
			s.givenPeer(name, r, fmt.Sprintf("myASN: 64512, peerAddress: %q, dualStackAddressFamily: %t", r.peer(v6), tr.dual))
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A Service is on every router, through every node, in the families that its sessions
// carry; a client beyond the routers reaches it; and when it goes, so do its routes.
func TestServiceOnEveryRouter(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			s := begin(t, 1)
			peers := s.givenSessions(tr)
			s.advertise("all", "{}")
			addresses := s.givenService("web", "Cluster")
			carried := tr.carries(addresses)
			for _, r := range s.routers {
				for _, a := range carried {
					s.expectRoute(r, host(a), s.nodes)
				}
			}
			for _, a := range carried {
				s.expectAnswer(a)
			}
			if len(carried) == 2 {
				s.expectStatuses("web", s.nodes, peers...)
			}
			if n := len(s.events(s.ns, "web", "nodeAssigned")); n != len(s.nodes) {
				s.Errorf("%d Events nodeAssigned; want one for each of %d nodes", n, len(s.nodes))
			}
			for _, peer := range peers {
				s.expectEvents(peer, "SessionEstablished", s.nodes, "")
			}
			s.kubectl("delete", "service", "web", "-n", s.ns)
			s.expectEverywhere(addresses, nil)
			s.expectStatuses("web", nil)
		})
	}
}

// With externalTrafficPolicy Local only nodes with endpoints advertise, as pods come and
// go.
func TestTrafficPolicyLocal(t *testing.T) {
	s := begin(t, 0, 2)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Local")
	s.expectEverywhere(addresses, []string{s.nodes[0], s.nodes[2]})
	s.expectStatuses("web", []string{s.nodes[0], s.nodes[2]}, "bird", "frr")
	s.kubectl("delete", "pod", "echo-0", "--now", "-n", s.ns)
	s.expectEverywhere(addresses, []string{s.nodes[2]})
	s.expectAnswer(addresses[0])
	s.expectAnswer(addresses[1])
	s.kubectl("delete", "pod", "echo-2", "--now", "-n", s.ns)
	s.expectEverywhere(addresses, nil)
	s.expectStatuses("web", nil)
}

// A node whose network is unavailable, or that is excluded from load balancing,
// advertises nothing, and its sessions stay up.
func TestNodesThatMayNot(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	node := func(i int) *lab.Node {
		n, err := s.lab.Node(s.nodes[i])
		s.must(err)
		return n
	}
	const exclude = "node.kubernetes.io/exclude-from-external-load-balancers"
	s.afterwards(func() {
		s.must(node(0).SetCondition(s.ctx, corev1.NodeNetworkUnavailable, corev1.ConditionFalse))
		s.must(node(1).Label(s.ctx, exclude, ""))
	})
	s.must(node(0).SetCondition(s.ctx, corev1.NodeNetworkUnavailable, corev1.ConditionTrue))
	s.expectEverywhere(addresses, s.nodes[1:])
	s.must(node(1).Label(s.ctx, exclude, "true"))
	s.expectEverywhere(addresses, s.nodes[2:])
	for _, r := range s.routers {
		if n, err := r.established(s.ctx); err != nil || n != len(s.nodes) {
			t.Errorf("%s has %d sessions, error %v; want %d", r.name(), n, err, len(s.nodes))
		}
	}
	s.must(node(0).SetCondition(s.ctx, corev1.NodeNetworkUnavailable, corev1.ConditionFalse))
	s.must(node(1).Label(s.ctx, exclude, ""))
	s.expectEverywhere(addresses, s.nodes)
}

// Services that share an address share its route, which goes with the last of them.
func TestSharedAddress(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	key := "metallb.io/allow-shared-ip: key"
	web := s.givenService("web", "Cluster", key)
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: mail, namespace: %s, annotations: {%s, %s}}
spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {app: echo}, ports: [{port: 25, targetPort: 8080}]}
`, s.ns, key, requesting(web[0].String(), web[1].String())))
	s.expectStatuses("mail", s.nodes, "bird", "frr")
	s.expectEverywhere(web, s.nodes)
	s.expectMetric(s.nodes[0], `metallb_bgp_announced_prefixes_total{peer="192.0.2.1:179",vrf=""}`, exactly(2))
	s.kubectl("delete", "service", "web", "-n", s.ns)
	s.expectStatuses("web", nil)
	s.expectEverywhere(web, s.nodes)
	s.kubectl("delete", "service", "mail", "-n", s.ns)
	s.expectEverywhere(web, nil)
}

// Addresses are advertised whichever way their pool has them.
func TestPools(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: ranges, namespace: metallb-system, labels: {tier: gold}}
spec: {addresses: [203.0.114.7-203.0.114.9, "2001:db8:114::7-2001:db8:114::9"], autoAssign: false}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: prefixes, namespace: metallb-system}
spec: {addresses: [203.0.115.0/30, "2001:db8:115::/126"], autoAssign: false}
`)
	s.advertise("chosen", `{ipAddressPools: [prefixes], ipAddressPoolSelectors: [{matchLabels: {tier: gold}}]}`)
	first := s.givenService("first", "Cluster", "metallb.io/address-pool: ranges")
	last := s.givenService("last", "Cluster", requesting("203.0.114.9", "2001:db8:114::9"))
	prefix := s.givenService("prefix", "Cluster", "metallb.io/address-pool: prefixes")
	other := s.givenService("other", "Cluster")
	for _, addresses := range [][2]netip.Addr{first, last, prefix} {
		s.expectEverywhere(addresses, s.nodes)
	}
	s.expectEverywhere(other, nil)
	if want := netip.MustParseAddr("203.0.114.7"); first[0] != want {
		t.Errorf("the pool of ranges gave %v first; want %v", first[0], want)
	}
}

// A Service can be announced by Layer 2 and BGP at once.
func TestBothProtocols(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
`)
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	s.await(patience, "an Event of Layer 2", func() error {
		messages := s.events(s.ns, "web", "nodeAssigned")
		if len(messages) != len(s.nodes)+1 {
			return fmt.Errorf("there are %q; want one of Layer 2, and of BGP one from each node", messages)
		}
		return nil
	})
	s.kubectl("delete", "bgpadvertisement", "all", "-n", heraldNS)
	s.expectEverywhere(addresses, nil)
	s.expectStatuses("web", nil)
}
