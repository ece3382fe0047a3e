// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"errors"
	"fmt"
	"testing"
)

// A Service is on every router, through every node, in both families; a client beyond
// the routers reaches it; and when it goes, so do its routes.
func TestServiceOnEveryRouter(t *testing.T) {
	s := begin(t, 1)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	for _, a := range addresses {
		s.expectAnswer(a)
	}
	s.expectStatuses("web", s.nodes, "bird", "frr")
	if n := len(s.events(s.ns, "web", "nodeAssigned")); n != len(s.nodes) {
		s.Errorf("%d Events nodeAssigned; want one for each of %d nodes", n, len(s.nodes))
	}
	if n := len(s.events(heraldNS, "frr", "SessionEstablished")); n == 0 {
		s.Error("no Event says that the session with frr is up")
	}
	s.kubectl("delete", "service", "web", "-n", s.ns)
	s.expectEverywhere(addresses, nil)
	s.expectStatuses("web", nil)
}

// Sessions over IPv6 carry both families as well.
func TestSessionsOverIPv6(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(true, ", dualStackAddressFamily: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes)
	for _, a := range addresses {
		s.expectAnswer(a)
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
	s.kubectl("delete", "pod", "echo-0", "--now", "-n", s.ns)
	s.expectEverywhere(addresses, []string{s.nodes[2]})
	s.expectAnswer(addresses[0])
	s.kubectl("delete", "pod", "echo-2", "--now", "-n", s.ns)
	s.expectEverywhere(addresses, nil)
}

// Path attributes arrive, and follow the advertisement while sessions stay up.
func TestAttributes(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
spec: {communities: [{name: gold, value: "64512:7"}]}
`)
	s.advertise("all", `{communities: ["64512:1", gold, "large:64512:2:3"]}`)
	addresses := s.givenService("web", "Cluster")
	s.expectEverywhere(addresses, s.nodes, "64512:1", "64512:7", "large:64512:2:3")
	s.advertise("more", `{communities: ["64512:9"]}`)
	s.expectEverywhere(addresses, s.nodes, "64512:1", "64512:7", "64512:9", "large:64512:2:3")
	s.advertise("all", `{communities: [gold]}`)
	s.expectEverywhere(addresses, s.nodes, "64512:7", "64512:9")

	s.advertise("more", `{aggregationLength: 26, aggregationLengthV6: 124}`)
	for _, r := range s.routers {
		s.expectRoute(r, aggregate(addresses[0], 26), s.nodes)
		s.expectRoute(r, aggregate(addresses[1], 124), s.nodes)
		s.expectRoute(r, host(addresses[0]), s.nodes, "64512:7")
	}
}

// Advertisements choose peers, nodes and Services.
func TestSelectors(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, ", dualStackAddressFamily: true")
	s.advertise("to-frr", `{peers: [frr], communities: ["64512:1"]}`)
	s.advertise("to-bird", fmt.Sprintf(`{peers: [bird], communities: ["64512:2"], serviceSelectors: [{matchLabels: {app: web}}],
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]}`, s.nodes[1]))
	web, db := s.givenService("web", "Cluster"), s.givenService("db", "Cluster")
	frr, bird := s.routers[0], s.routers[1]
	for i := range web {
		s.expectRoute(frr, host(web[i]), s.nodes, "64512:1")
		s.expectRoute(frr, host(db[i]), s.nodes, "64512:1")
		s.expectRoute(bird, host(web[i]), s.nodes[1:2], "64512:2")
		s.expectRoute(bird, host(db[i]), nil)
	}
	s.kubectl("label", "service", "db", "app=web", "--overwrite", "-n", s.ns)
	s.expectRoute(bird, host(db[0]), s.nodes[1:2], "64512:2")
}

// A router that refuses us is told of once, in words; the other one goes on.
func TestRefusingRouter(t *testing.T) {
	s := begin(t, 0)
	s.givenPeers(false, "")
	s.kubectl("patch", "bgppeer", "frr", "-n", heraldNS, "--type=merge", "-p", `{"spec":{"peerASN":65000}}`)
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	s.expectRoute(s.routers[1], host(addresses[0]), s.nodes)
	s.await(patience, "an Event on the peer", func() error {
		messages := s.events(heraldNS, "frr", "SessionFailed")
		if len(messages) < len(s.nodes) {
			return fmt.Errorf("there are %q", messages)
		}
		return nil
	})
	for _, m := range s.events(heraldNS, "frr", "SessionFailed") {
		t.Log(m)
	}
	s.kubectl("patch", "bgppeer", "frr", "-n", heraldNS, "--type=merge", "-p", `{"spec":{"peerASN":64513}}`)
	s.expectRoute(s.routers[0], host(addresses[0]), s.nodes)
	if n := len(s.events(heraldNS, "frr", "SessionFailed")); n > 2*len(s.nodes) {
		t.Errorf("%d Events about one mistake on %d nodes", n, len(s.nodes))
	}
}

// A password comes from a Secret, and follows it when it is rotated.
func TestPasswordFromSecret(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("neighbor nodes password one")
	s.Cleanup(func() { _, _ = s.lab.Kubectl(s.ctx, "delete", "secret", "md5", "-n", heraldNS, "--ignore-not-found") })
	secret := func(kind, password string) string {
		return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: md5, namespace: metallb-system}
type: %s
stringData: {password: %s}
`, kind, password)
	}
	s.apply(secret("Opaque", "one"))
	s.givenPeers(false, ", passwordSecret: {name: md5}")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Cluster")
	frr := s.routers[0]
	s.await(patience, "an Event about the type of the Secret", func() error {
		if len(s.events(heraldNS, "frr", "Invalid")) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	s.kubectl("delete", "secret", "md5", "-n", heraldNS)
	s.apply(secret("kubernetes.io/basic-auth", "one"))
	s.expectRoute(frr, host(addresses[0]), s.nodes)

	s.configureNodes("neighbor nodes password two")
	s.apply(secret("kubernetes.io/basic-auth", "two"))
	s.expectRoute(frr, host(addresses[0]), s.nodes)
	s.kubectl("delete", "secret", "md5", "-n", heraldNS)
	s.expectRoute(frr, host(addresses[0]), nil)
}

// A peer of our own AS, whose number is not given, hears of LOCAL_PREF.
func TestInternalPeer(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configureNodes("neighbor nodes remote-as internal")
	s.apply(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: frr, namespace: metallb-system}
spec: {myASN: 64513, dynamicASN: internal, peerAddress: 192.0.2.1, connectTime: 1s}
`)
	s.advertise("all", "{localPref: 200}")
	addresses := s.givenService("web", "Cluster")
	frr := s.routers[0]
	s.expectRoute(frr, host(addresses[0]), s.nodes)
	expectPreference := func(want uint32) {
		t.Helper()
		s.await(patience, fmt.Sprintf("LOCAL_PREF %d", want), func() error {
			paths, err := frr.paths(s.ctx, host(addresses[0]))
			for _, p := range paths {
				if p.localPref != want {
					err = fmt.Errorf("path %+v", p)
				}
			}
			return err
		})
	}
	expectPreference(200)
	s.advertise("all", "{localPref: 300}")
	expectPreference(300)
}
