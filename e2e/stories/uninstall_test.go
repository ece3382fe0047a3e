// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A speaker that ends is there for a while yet, here for the sake of a router. Whether they
// end one after the other or all at once, and when they are back: none takes another for a
// station outside the cluster.
func TestAllSpeakersLeave(t *testing.T) {
	s := begin(t)
	s.givenFarewell("3s")
	p := s.givenPool(dual, of(6))
	s.givenPods(s.nodes...)
	addrs := make(map[string][]netip.Addr)
	for i := range p.size {
		name := fmt.Sprintf("web-%d", i)
		s.givenService(name, dual, fromPool(p))
		addrs[name] = s.expectAddressesOf(name, p.addrs(i))
		s.expectReachable(addrs[name])
	}

	s.restart("daemonset/speaker")
	for name := range addrs {
		s.expectReachable(addrs[name])
		s.expectUncontested(name)
	}

	s.kubectl("-n", heraldNS, "delete", "daemonset", "speaker")
	s.await(patience, "the speakers to be gone", func() error {
		list, err := s.api().CoreV1().Pods(heraldNS).List(s.ctx, metav1.ListOptions{LabelSelector: "component=speaker"})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are there", len(list.Items))
		}
		return err
	})
	for name := range addrs {
		s.expectSilence(addrs[name][0])
		s.expectUncontested(name)
	}

	s.must(s.stage.Install(s.ctx))
	for name := range addrs {
		s.expectReachable(addrs[name])
	}
	record, stop := s.keepConnecting(p.addrs(0)[0])
	s.expectAnswers(record, 300) // for longer than it takes to judge
	stop()
	for name := range addrs {
		s.expectUncontested(name)
	}
}

// givenFarewell has each speaker that ends be there for that long yet: it has a peer, and
// routers are to be given time to prefer others. When the story ends the speakers are as they
// were installed.
func (s *story) givenFarewell(long string) {
	s.Helper()
	s.afterwards(func() {
		s.kubectl("-n", heraldNS, "delete", "bgppeer", "leaving", "--ignore-not-found")
		s.check(s.stage.Install(s.ctx))
	})
	s.apply(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: leaving, namespace: ` + heraldNS + `}
spec: {myASN: 64512, peerASN: 64999, peerAddress: 198.51.100.9}
`)
	s.kubectl("-n", heraldNS, "patch", "daemonset/speaker", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/args/0","value":"--bgp-farewell=`+long+`"}]`)
	s.awaitRollout("daemonset/speaker")
}

// expectUncontested fails if it was ever told of a Service that another station has one of
// its addresses, or if that is recorded of any.
func (s *story) expectUncontested(name string) {
	s.Helper()
	s.expectEvents(name, "AddressContested", 0)
	if c := meta.FindStatusCondition(s.service(name).Status.Conditions, "herald-lb.io/Contested"); c != nil {
		s.Errorf("%s has the condition %+v", name, c)
	}
	if out := s.kubectl("-n", heraldNS, "get", "addressreservations", "-l", "herald-lb.io/contested", "-o", "name"); out != "" {
		s.Errorf("there are records of contests: %s", out)
	}
}
