// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// patience is how long a story waits for what should be there in a second or two, on a
// machine that may be busy with other things.
const patience = 30 * time.Second

// story is one story being told. Its sentences fail the test themselves.
type story struct {
	*testing.T
	*world
	ctx context.Context
	ns  string
}

var stories atomic.Int32

// begin opens a story with a namespace, a dual-stack pool and pods on these nodes.
func begin(t *testing.T, pods ...int) *story {
	t.Helper()
	s := &story{T: t, world: theWorld(t), ctx: t.Context(), ns: fmt.Sprintf("story-%d", stories.Add(1))}
	s.Cleanup(s.end)
	var manifest strings.Builder
	fmt.Fprintf(&manifest, `
apiVersion: v1
kind: Namespace
metadata: {name: %s}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bgp, namespace: metallb-system}
spec: {addresses: [198.51.100.0/24, "2001:db8:100::/120"]}
`, s.ns)
	for _, i := range pods {
		fmt.Fprintf(&manifest, `---
apiVersion: v1
kind: Pod
metadata: {name: echo-%d, namespace: %s, labels: {app: echo}}
spec: {nodeName: %s, containers: [{name: echo, image: herald-lb/echo}]}
`, i, s.ns, s.nodes[i])
	}
	s.apply(manifest.String())
	return s
}

// end takes away all that a story may have made.
func (s *story) end() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*patience)
	defer cancel()
	s.ctx = ctx // the test's own has ended
	if s.Failed() {
		s.showEvidence()
	}
	for _, what := range []string{"bgpadvertisements,bgppeers,communities,bfdprofiles,ipaddresspools -n " + heraldNS} {
		if out, err := s.lab.Kubectl(ctx, append([]string{"delete", "--all"}, strings.Fields(what)...)...); err != nil {
			s.Errorf("clean up: %v\n%s", err, out)
		}
	}
	if out, err := s.lab.Kubectl(ctx, "delete", "services,pods", "--all", "--now", "-n", s.ns); err != nil {
		s.Errorf("clean up: %v\n%s", err, out)
	}
	_, _ = s.lab.Kubectl(ctx, "delete", "namespace", s.ns, "--wait=false")
}

func (s *story) showEvidence() {
	for _, args := range [][]string{
		{"get", "services,pods,events", "-n", s.ns, "-o", "wide"},
		{"get", "servicebgpstatuses,bgppeers,bgpadvertisements,pods,events", "-n", heraldNS, "-o", "wide"},
	} {
		out, err := s.lab.Kubectl(s.ctx, args...)
		s.Logf("kubectl %s (error %v):\n%s", strings.Join(args, " "), err, out)
	}
	for _, r := range s.routers {
		s.Log(r.show(s.ctx))
	}
	for _, log := range s.stage.Logs() {
		s.Logf("last words of %s:\n%s", filepath.Base(log), stage.LastLines(log, 25))
	}
}

func (s *story) apply(manifest string) {
	s.Helper()
	if err := s.lab.Apply(s.ctx, manifest); err != nil {
		s.Fatal(err)
	}
}

func (s *story) kubectl(args ...string) string {
	s.Helper()
	out, err := s.lab.Kubectl(s.ctx, args...)
	if err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
	return out
}

// await returns when the condition has no error any more.
func (s *story) await(limit time.Duration, what string, condition func() error) {
	s.Helper()
	if err := stage.Await(s.ctx, limit, what, condition); err != nil {
		s.Fatal(err)
	}
}

// givenPeers makes both routers peers of all nodes, with more of their spec in YAML.
func (s *story) givenPeers(v6 bool, more string) {
	s.Helper()
	for _, r := range s.routers {
		s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system}
spec: {myASN: 64512, peerASN: %d, peerAddress: %q, holdTime: 9s, connectTime: 1s%s}
`, r.name(), r.asn(), r.peer(v6), more))
	}
}

// advertise makes a BGPAdvertisement, or changes it.
func (s *story) advertise(name, spec string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: %s, namespace: metallb-system}
spec: %s
`, name, spec))
}

// givenService makes a dual-stack Service for the story's pods, and returns its
// addresses, IPv4 first.
func (s *story) givenService(name, policy string) [2]netip.Addr {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, labels: {app: %s}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: %s
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
`, name, s.ns, name, policy))
	var addresses [2]netip.Addr
	s.await(patience, "addresses", func() error {
		service, err := s.lab.Clientset().CoreV1().Services(s.ns).Get(s.ctx, name, metav1.GetOptions{})
		if err != nil || len(service.Status.LoadBalancer.Ingress) != 2 {
			return errors.Join(err, fmt.Errorf("status has %v", service.Status.LoadBalancer.Ingress))
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			a := netip.MustParseAddr(ingress.IP)
			if a.Is4() {
				addresses[0] = a
			} else {
				addresses[1] = a
			}
		}
		return nil
	})
	return addresses
}

// host returns the prefix that is the address alone.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// expectRoute waits until the router's table has paths to the prefix through exactly
// these nodes, each with exactly these communities.
func (s *story) expectRoute(r router, prefix netip.Prefix, nodes []string, communities ...string) {
	s.Helper()
	slices.Sort(communities)
	s.await(patience, fmt.Sprintf("%s to have %s through %v with %v", r.name(), prefix, nodes, communities), func() error {
		paths, err := r.paths(s.ctx, prefix)
		if err != nil {
			return err
		}
		var through []string
		for _, p := range paths {
			if !slices.Equal(p.communities, communities) {
				return fmt.Errorf("path %+v", p)
			}
			through = append(through, s.nodeOf[p.nextHop])
		}
		slices.Sort(through)
		if !slices.Equal(through, nodes) {
			return fmt.Errorf("through %v: %+v", through, paths)
		}
		return nil
	})
}

// expectEverywhere is expectRoute for both routers and all addresses.
func (s *story) expectEverywhere(addresses [2]netip.Addr, nodes []string, communities ...string) {
	s.Helper()
	for _, r := range s.routers {
		for _, a := range addresses {
			s.expectRoute(r, host(a), nodes, slices.Clone(communities)...)
		}
	}
}

// expectAnswer waits until the client beyond the routers gets an answer.
func (s *story) expectAnswer(a netip.Addr) {
	s.Helper()
	s.await(patience, fmt.Sprintf("an answer from %s", a), func() error {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		defer cancel()
		_, err := s.client.Echo(ctx, "http", netip.AddrPortFrom(a, 80).String())
		return err
	})
}

// expectStatuses waits until the Service has one ServiceBGPStatus per node, which names
// these peers.
func (s *story) expectStatuses(service string, nodes []string, peers string) {
	s.Helper()
	want := make([]string, 0, len(nodes))
	for _, n := range nodes {
		want = append(want, n+" "+peers)
	}
	s.await(patience, "ServiceBGPStatuses", func() error {
		out, err := s.lab.Kubectl(s.ctx, "get", "servicebgpstatuses", "-n", heraldNS,
			"-l", "metallb.io/service-name="+service+",metallb.io/service-namespace="+s.ns,
			"-o", `jsonpath={range .items[*]}{.status.node} {.status.peers}{"\n"}{end}`)
		if err != nil {
			return err
		}
		got := strings.Split(strings.TrimSpace(out), "\n")
		slices.Sort(got)
		if !slices.Equal(got, want) && strings.TrimSpace(out) != strings.Join(want, "\n") {
			return fmt.Errorf("there are %q, want %q", got, want)
		}
		return nil
	})
}

// events returns the messages of Events about an object with a reason.
func (s *story) events(namespace, object, reason string) []string {
	s.Helper()
	list, err := s.lab.Clientset().CoreV1().Events(namespace).List(s.ctx, metav1.ListOptions{})
	if err != nil {
		s.Fatal(err)
	}
	var messages []string
	for _, e := range list.Items {
		if e.InvolvedObject.Name == object && e.Reason == reason {
			messages = append(messages, e.Message)
		}
	}
	return messages
}
