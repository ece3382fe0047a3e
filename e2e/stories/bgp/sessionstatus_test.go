// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/api/v1beta1"
)

// settled is how long a story waits for what statuses of Services say of a session, which
// has to have been like that for a while.
const settled = patience + 15*time.Second

// Whoever looks why a Service's route is not at a router finds it in the Service's
// ServiceBGPStatus: that the router refuses, in its own words; that the session is not
// guarded. When all is well, nothing is said.
func TestSessionsInStatuses(t *testing.T) {
	for i, name := range []string{"frr", "bird"} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 0)
			r, other := s.routers[i], s.routers[1-i]
			// A router without BFD, and then with it.
			s.resetFRR()
			s.configureNodes("no neighbor nodes bfd")
			s.configureBIRD("  bfd on;\n", "")
			s.givenProfile("fast", "{receiveInterval: 100, transmitInterval: 100}")
			s.givenPeer(other.name(), other, fmt.Sprintf("myASN: 64512, peerAddress: %s", other.peer(false)))
			spec := func(asn uint32) string {
				return fmt.Sprintf("myASN: 64512, peerAddress: %s, bfdProfile: fast, peerASN: %d", r.peer(false), asn)
			}
			s.givenPeer(name, r, spec(65000))
			s.advertise("all", "{}")
			a := s.givenService("web", "Cluster")[0]
			s.expectRoute(other, host(a), s.nodes)
			s.expectStatuses("web", s.nodes, "bird", "frr")
			s.expectSessions("web", name, "state: Down", "OPEN Message Error, Bad Peer AS")

			s.givenPeer(name, r, spec(r.asn()))
			s.expectRoute(r, host(a), s.nodes)
			s.expectSessions("web", name, "state: Established", "bfd: Down")

			s.configureNodes("neighbor nodes bfd profile fast")
			s.configureBIRD()
			s.expectBFDOn(r, len(s.nodes))
			s.expectSessions("web", "")
		})
	}
}

// expectSessions waits until the Service's ServiceBGPStatus of each node tells of the
// session with this peer in these words, and of no other; of none for no peer.
func (s *story) expectSessions(service, peer string, words ...string) {
	s.Helper()
	s.await(settled, fmt.Sprintf("statuses to tell of %q: %q", peer, words), func() (err error) {
		var list v1beta1.ServiceBGPStatusList
		if err := s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/servicebgpstatuses", &list); err != nil {
			return err
		}
		nodes := 0
		for i := range list.Items {
			if is := &list.Items[i].Status; is.ServiceName == service && is.ServiceNamespace == s.ns {
				nodes++
				err = errors.Join(err, tells(is, peer, words))
			}
		}
		if nodes != len(s.nodes) {
			err = errors.Join(err, fmt.Errorf("there are %d of %d statuses", nodes, len(s.nodes)))
		}
		return err
	})
}

// tells returns an error unless the status tells of the session with one peer in words.
func tells(is *v1beta1.MetalLBServiceBGPStatus, peer string, words []string) error {
	var told []string
	text := ""
	for _, session := range is.Sessions {
		told = append(told, session.Peer)
		text = fmt.Sprintf("state: %s, bfd: %s, %s, %s", session.State, session.BFD, session.Message, session.LastNotification)
	}
	if strings.Join(told, " ") != peer {
		return fmt.Errorf("%s tells of %v: %s", is.Node, told, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Errorf("%s says %q", is.Node, text)
		}
	}
	return nil
}
