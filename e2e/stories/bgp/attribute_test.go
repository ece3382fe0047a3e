// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Path attributes arrive, and follow the advertisement while sessions stay up.
func TestAttributes(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
spec: {communities: [{name: gold, value: "64512:7"}, {name: large, value: "large:4200000001:7:8"}]}
`)
	s.advertise("all", `{communities: ["64512:1", gold, large, "large:64512:2:3"]}`)
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes, "64512:1", "64512:7", "large:64512:2:3", "large:4200000001:7:8")
	s.advertise("more", `{communities: ["64512:9", "64512:1"]}`)
	s.expectEverywhere(addresses, s.nodes, "64512:1", "64512:7", "64512:9", "large:64512:2:3", "large:4200000001:7:8")
	s.advertise("all", `{communities: [gold]}`)
	s.expectEverywhere(addresses, s.nodes, "64512:1", "64512:7", "64512:9")

	s.advertise("more", `{communities: [silver]}`)
	s.expectAccepted("bgpadvertisements", "more", "False", "silver")
	s.expectEverywhere(addresses, s.nodes, "64512:7")
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: more-names, namespace: metallb-system}
spec: {communities: [{name: silver, value: "64512:8"}]}
`)
	s.expectAccepted("bgpadvertisements", "more", "True", "")
	s.expectEverywhere(addresses, s.nodes, "64512:7", "64512:8")
	s.expectUnbroken("frr", "bird")
}

// expectUnbroken fails if a session with one of the peers has gone down.
func (s *story) expectUnbroken(peers ...string) {
	s.Helper()
	for _, peer := range peers {
		if down := s.eventsOfPeer(peer, "SessionDown"); len(down) > 0 {
			s.Errorf("sessions with %s went down: %q", peer, down)
		}
	}
}

// Addresses are advertised as one prefix if that is asked for, as long as there is one
// Service in it; its length may differ from one advertisement to another.
func TestAggregates(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("short", `{aggregationLength: 26, aggregationLengthV6: 124, communities: ["64512:1"]}`)
	web, db := s.givenService("web", "Cluster"), s.givenService("db", "Cluster")
	expect := func(nodes []string) {
		s.Helper()
		for _, r := range s.routers {
			s.expectRoute(r, aggregate(web[0], 26), nodes, "64512:1")
			s.expectRoute(r, aggregate(web[1], 124), nodes, "64512:1")
		}
	}
	expect(s.nodes)
	s.expectEverywhere(db, nil)
	s.advertise("long", `{communities: ["64512:2"]}`)
	s.expectEverywhere(web, s.nodes, "64512:2")
	s.expectEverywhere(db, s.nodes, "64512:2")
	s.kubectl("delete", "service", "web", "-n", s.ns)
	s.expectEverywhere(web, nil)
	expect(s.nodes)
	s.advertise("short", `{aggregationLength: 28, aggregationLengthV6: 125, communities: ["64512:1"]}`)
	expect(nil)
	s.expectRoute(s.frr(), aggregate(db[0], 28), s.nodes, "64512:1")
	s.expectRoute(s.bird(), aggregate(db[1], 125), s.nodes, "64512:1")
	s.kubectl("delete", "service", "db", "-n", s.ns)
	s.expectRoute(s.frr(), aggregate(db[0], 28), nil)
	s.expectRoute(s.bird(), aggregate(db[1], 125), nil)
	s.expectEverywhere(db, nil)
}

// expectPreference waits until a router goes by this LOCAL_PREF.
func (s *story) expectPreference(r router, addresses [2]netip.Addr, want uint32) {
	s.Helper()
	for _, a := range addresses {
		s.expectPaths(r, host(a), s.nodes, func(p path) error {
			if p.localPref != want {
				return fmt.Errorf("want LOCAL_PREF %d", want)
			}
			return nil
		})
	}
}

// LOCAL_PREF is for peers of our own AS, whose numbers need not be given; others are not
// told. Advertisements that disagree are told so.
func TestInternalPeers(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("neighbor nodes remote-as internal")
	s.givenPeer("frr", s.frr(), `myASN: 64513, dynamicASN: internal, peerAddress: 192.0.2.1, dualStackAddressFamily: true`)
	s.givenPeer("bird", s.bird(), `myASN: 64513, dynamicASN: external, peerAddress: 192.0.2.2, dualStackAddressFamily: true`)
	s.advertise("all", "{localPref: 200}")
	addresses := s.givenService("web", "Cluster")
	s.expectPreference(s.frr(), addresses, 200)
	s.expectPreference(s.bird(), addresses, 100) // BIRD's own
	s.advertise("all", "{localPref: 300}")
	s.expectPreference(s.frr(), addresses, 300)

	s.advertise("younger", `{localPref: 400, communities: ["64512:1"]}`)
	s.expectRoute(s.frr(), host(addresses[0]), s.nodes, "64512:1")
	s.expectPreference(s.frr(), addresses, 300)
	s.await(patience, "Events on the Service and the younger advertisement", func() error {
		service, younger := s.events(s.ns, "web", "conflictingAdvertisements"), s.events(heraldNS, "younger", "Conflict")
		if len(service) == 0 || len(younger) != 1 || !strings.Contains(younger[0], "localPref") {
			return fmt.Errorf("there are %q and %q", service, younger)
		}
		return nil
	})
	s.expectAccepted("bgpadvertisements", "younger", "False", `spec.localPref: 400 is not what the older BGPAdvertisement "all" asks for`)
	s.expectAccepted("bgpadvertisements", "all", "True", "")
}

// The same with BIRD as the one of our AS.
func TestInternalPeerBIRD(t *testing.T) {
	s := begin(t, 0)
	s.configureBIRD(`external; dynamic name "four"`, `internal; direct; dynamic name "four"`)
	s.givenPeer("frr", s.frr(), `myASN: 64514, dynamicASN: external, peerAddress: 192.0.2.1, dualStackAddressFamily: true`)
	s.givenPeer("bird", s.bird(), `myASN: 64514, dynamicASN: internal, peerAddress: 192.0.2.2, dualStackAddressFamily: true`)
	s.advertise("all", "{localPref: 200}")
	addresses := s.givenService("web", "Cluster")
	s.expectPreference(s.bird(), addresses, 200)
	s.expectPreference(s.frr(), addresses, 0) // FRR has none for external paths
}
