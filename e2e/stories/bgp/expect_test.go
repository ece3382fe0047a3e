// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// expectPaths waits until the router's table has paths to the prefix through exactly
// these nodes, and each is as it should be.
func (s *story) expectPaths(r router, prefix netip.Prefix, nodes []string, each func(path) error) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to have %s through %v", r.name(), prefix, nodes), func() error {
		paths, err := r.paths(s.ctx, prefix)
		if err != nil {
			return err
		}
		var through []string
		for _, p := range paths {
			if err := each(p); err != nil {
				return fmt.Errorf("path %+v: %w", p, err)
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

// expectRoute is expectPaths for paths that have exactly these communities.
func (s *story) expectRoute(r router, prefix netip.Prefix, nodes []string, communities ...string) {
	s.Helper()
	communities = slices.Sorted(slices.Values(communities))
	s.expectPaths(r, prefix, nodes, func(p path) error {
		if !slices.Equal(p.communities, communities) {
			return fmt.Errorf("want communities %v", communities)
		}
		return nil
	})
}

// expectEverywhere is expectRoute for both routers and all addresses.
func (s *story) expectEverywhere(addresses [2]netip.Addr, nodes []string, communities ...string) {
	s.Helper()
	for _, r := range s.routers {
		for _, a := range addresses {
			s.expectRoute(r, host(a), nodes, communities...)
		}
	}
}

// expectASPath waits until both routers have the addresses through these nodes, by this
// AS path.
func (s *story) expectASPath(addresses [2]netip.Addr, nodes []string, want string) {
	s.Helper()
	for _, r := range s.routers {
		for _, a := range addresses {
			s.expectPaths(r, host(a), nodes, func(p path) error {
				if p.asPath != want {
					return fmt.Errorf("want AS path %q", want)
				}
				return nil
			})
		}
	}
}

// expectForwarding waits until the router's kernel forwards what is for the address to so
// many next hops, which is a moment after its BGP table has them.
func (s *story) expectForwarding(r router, a netip.Addr, hops int) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to forward %s to %d next hops", r.name(), a, hops), func() error {
		family := "-4"
		if a.Is6() {
			family = "-6"
		}
		out, err := r.Exec(s.ctx, "ip", family, "route", "show", host(a).String())
		if n := strings.Count(out, " via "); err == nil && n != hops {
			err = fmt.Errorf("it does to %d: %s", n, out)
		}
		return err
	})
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

// expectBFD waits until each router has that many BFD sessions up.
func (s *story) expectBFD(n int) {
	s.Helper()
	for _, r := range s.routers {
		s.expectBFDOn(r, n)
	}
}

func (s *story) expectBFDOn(r router, n int) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%d BFD sessions on %s", n, r.name()), func() error {
		up, err := r.bfdUp(s.ctx)
		if err == nil && up != n {
			err = fmt.Errorf("%d are up", up)
		}
		return err
	})
}

// expectStatuses waits until the Service has one ServiceBGPStatus per node, which names
// these peers.
func (s *story) expectStatuses(service string, nodes []string, peers ...string) {
	s.Helper()
	var want []string
	for _, n := range nodes {
		want = append(want, fmt.Sprint(n, peers))
	}
	s.await(patience, "ServiceBGPStatuses", func() error {
		var list struct {
			Items []struct {
				Status struct {
					Node, ServiceName, ServiceNamespace string
					Peers                               []string
				}
			}
		}
		if err := s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/servicebgpstatuses", &list); err != nil {
			return err
		}
		var got []string
		for _, i := range list.Items {
			if i.Status.ServiceName == service && i.Status.ServiceNamespace == s.ns {
				got = append(got, fmt.Sprint(i.Status.Node, i.Status.Peers))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			return fmt.Errorf("there are %q, want %q", got, want)
		}
		return nil
	})
}

// read fills into with the JSON at path, for kinds that the clientset does not know.
func (s *story) read(path string, into any) error {
	raw, err := s.lab.Clientset().CoreV1().RESTClient().Get().AbsPath(path).DoRaw(s.ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// events returns the messages of Events about an object with a reason, whichever object of
// that name it was.
func (s *story) events(namespace, object, reason string) []string {
	s.Helper()
	list, err := s.lab.Clientset().CoreV1().Events(namespace).List(s.ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.name=" + object + ",reason=" + reason,
	})
	s.must(err)
	var messages []string
	for _, e := range list.Items {
		messages = append(messages, e.Message)
	}
	return messages
}

// eventsOfPeer returns those Events about the BGPPeer of that name that there is now.
func (s *story) eventsOfPeer(name, reason string) []string {
	s.Helper()
	var peer struct{ Metadata struct{ UID string } }
	s.must(s.read("/apis/metallb.io/v1beta2/namespaces/"+heraldNS+"/bgppeers/"+name, &peer))
	list, err := s.lab.Clientset().CoreV1().Events(heraldNS).List(s.ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + peer.Metadata.UID + ",reason=" + reason,
	})
	s.must(err)
	var messages []string
	for _, e := range list.Items {
		messages = append(messages, e.Message)
	}
	return messages
}

// expectEvents waits until each node has said something about the peer that contains the
// words.
func (s *story) expectEvents(peer, reason string, nodes []string, words string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("Events %s about %s that say %q", reason, peer, words), func() error {
		messages := s.eventsOfPeer(peer, reason)
		for _, node := range nodes {
			if !slices.ContainsFunc(messages, func(m string) bool {
				return strings.Contains(m, `"`+node+`"`) && strings.Contains(m, words)
			}) {
				return fmt.Errorf("%s has not: there are %q", node, messages)
			}
		}
		return nil
	})
}

// expectAccepted waits until an object's condition Accepted is so, and says these words.
func (s *story) expectAccepted(kind, name, status, words string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s %s to be Accepted=%s: %s", kind, name, status, words), func() error {
		var object struct {
			Status struct{ Conditions []metav1.Condition }
		}
		version := "v1beta1"
		if kind == "bgppeers" {
			version = "v1beta2"
		}
		if err := s.read("/apis/metallb.io/"+version+"/namespaces/"+heraldNS+"/"+kind+"/"+name, &object); err != nil {
			return err
		}
		for _, c := range object.Status.Conditions {
			if c.Type == "Accepted" && string(c.Status) == status && strings.Contains(c.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", object.Status.Conditions)
	})
}
