// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
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
	s.expectStatuses("web", s.nodes, `["bird","frr"]`)
	if n := len(s.events(s.ns, "web", "nodeAssigned")); n != len(s.nodes) {
		s.Errorf("%d Events nodeAssigned; want one for each of %d nodes", n, len(s.nodes))
	}
	if n := len(s.events(heraldNS, "frr", "SessionEstablished")); n == 0 {
		s.Error("no Event says that the session with frr is up")
	}
	s.kubectl("delete", "service", "web", "-n", s.ns)
	s.expectEverywhere(addresses, nil)
	s.expectStatuses("web", nil, "")
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

func aggregate(a netip.Addr, length int) netip.Prefix { return netip.PrefixFrom(a, length).Masked() }

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

// A node that is cut off loses its routes when BFD finds out, and not when the hold time
// is over; a client beyond the router hardly notices. When the node is back, so are its
// routes.
func TestBFD(t *testing.T) {
	s := begin(t, 0, 1, 2)
	s.apply(`
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 100, transmitInterval: 100, detectMultiplier: 3}
`)
	s.givenPeers(false, ", dualStackAddressFamily: true, bfdProfile: fast")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Local")
	s.expectEverywhere(addresses, s.nodes)
	s.awaitBFD(len(s.nodes))
	s.expectAnswer(addresses[0])
	record := s.keepConnecting(addresses[0])

	node, err := s.lab.Node(s.nodes[1])
	if err != nil {
		t.Fatal(err)
	}
	s.await(patience, "answers", func() error {
		if _, n := record.Counts(); n < 100 {
			return fmt.Errorf("%d so far", n)
		}
		return nil
	})
	cut := time.Now()
	if err := node.Isolate(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Rejoin() })
	frr := s.routers[0]
	s.expectRoute(frr, host(addresses[0]), []string{s.nodes[0], s.nodes[2]})
	t.Logf("the router's table was without the node %v after the cut", time.Since(cut).Round(time.Millisecond))
	s.await(patience, "the client to be answered again for a second", func() error {
		if since := time.Since(cut); since < 2*time.Second {
			return fmt.Errorf("%v after the cut", since)
		}
		return nil
	})
	gap := record.Longest()
	asked, answered := record.Counts()
	t.Logf("longest time without an answer: %v; %d of %d answered", gap.Length.Round(time.Millisecond), answered, asked)
	if gap.Length > time.Second {
		t.Errorf("the client waited %v; BFD is to find out in 300 ms", gap.Length)
	}
	if err := node.Rejoin(); err != nil {
		t.Fatal(err)
	}
	s.expectRoute(frr, host(addresses[0]), s.nodes)
}

// awaitBFD waits until FRR has that many BFD sessions up.
func (s *story) awaitBFD(n int) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%d BFD sessions", n), func() error {
		up, err := s.routers[0].(frrRouter).bfdUp(s.ctx)
		if err == nil && up != n {
			err = fmt.Errorf("%d are up", up)
		}
		return err
	})
}

// keepConnecting has the client ask every 10 ms, a new connection each time, until the
// story ends.
func (s *story) keepConnecting(a netip.Addr) *probe.Probe {
	p := probe.New(10*time.Millisecond, 500*time.Millisecond, func(ctx context.Context) (string, error) {
		reply, err := s.client.Echo(ctx, "tcp", netip.AddrPortFrom(a, 80).String())
		return reply.Node, err
	})
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	s.Cleanup(func() { cancel(); <-done })
	return p
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

// With graceful restart, speakers that are replaced one after another cost no route, and
// the client notices nothing. On a machine that is busy with other things a connection in a
// hundred may fail for its own reasons; a node without its route would cost one in three.
func TestGracefulRestart(t *testing.T) {
	s := begin(t, 0, 1, 2)
	s.givenPeers(false, ", enableGracefulRestart: true")
	s.advertise("all", "{}")
	addresses := s.givenService("web", "Local")
	frr := s.routers[0]
	s.expectRoute(frr, host(addresses[0]), s.nodes)
	s.expectAnswer(addresses[0])
	record := s.keepConnecting(addresses[0])
	missing := s.watchRoute(frr, host(addresses[0]), len(s.nodes))
	s.kubectl("-n", heraldNS, "rollout", "restart", "daemonset/speaker")
	s.kubectl("-n", heraldNS, "rollout", "status", "daemonset/speaker", "--timeout=90s")
	s.expectRoute(frr, host(addresses[0]), s.nodes)
	if err := missing(); err != nil {
		t.Errorf("during the restart: %v", err)
	}
	asked, answered := record.Counts()
	t.Logf("%d of %d answered; longest time without an answer %v", answered, asked, record.Longest().Length.Round(time.Millisecond))
	if asked-answered > asked/100+1 { // the last one may be on its way
		t.Errorf("%d of %d requests failed", asked-answered, asked)
	}
}

// watchRoute looks at a route again and again. The function it returns ends that, and
// says whether the route ever had less than n paths.
func (s *story) watchRoute(r router, prefix netip.Prefix, n int) func() error {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() {
		looks := 0
		for ctx.Err() == nil {
			paths, err := r.paths(ctx, prefix)
			if err != nil && ctx.Err() == nil {
				done <- err
				return
			}
			if err == nil && len(paths) < n {
				done <- fmt.Errorf("only %d paths: %+v", len(paths), paths)
				return
			}
			looks++
		}
		if looks < 10 {
			done <- errors.New("nobody has looked")
		}
		close(done)
	}()
	return func() error { cancel(); return <-done }
}

// configure changes FRR's configuration of the nodes.
func (s *story) configure(lines ...string) {
	s.Helper()
	args := []string{"-c", "configure terminal", "-c", "router bgp 64513"}
	for _, l := range lines {
		args = append(args, "-c", l)
	}
	if out, err := s.routers[0].(frrRouter).Exec(s.ctx, "vtysh", args...); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
}

// resetFRR has bgpd begin anew when the story ends: to take a password back is not
// enough, its listening socket keeps it.
func (s *story) resetFRR() {
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
		defer cancel()
		s.ctx = ctx // the test's own has ended
		before, err := s.lab.PID("frr/bgpd")
		if err = errors.Join(err, s.lab.Kill("frr/bgpd")); err != nil {
			s.Error(err)
			return
		}
		s.await(patience, "bgpd", func() error {
			after, err := s.lab.PID("frr/bgpd")
			if err == nil && (after == 0 || after == before) {
				err = fmt.Errorf("it is process %d, and was %d", after, before)
			}
			return err
		})
	})
}

// A password comes from a Secret, and follows it when it is rotated.
func TestPasswordFromSecret(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configure("neighbor nodes password one")
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

	s.configure("neighbor nodes password two")
	s.apply(secret("kubernetes.io/basic-auth", "two"))
	s.expectRoute(frr, host(addresses[0]), s.nodes)
	s.kubectl("delete", "secret", "md5", "-n", heraldNS)
	s.expectRoute(frr, host(addresses[0]), nil)
}

// A peer of our own AS, whose number is not given, hears of LOCAL_PREF.
func TestInternalPeer(t *testing.T) {
	s := begin(t, 0)
	s.resetFRR()
	s.configure("neighbor nodes remote-as internal")
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
