// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A speaker that ends is there for a while yet, here for the sake of a router. Whether they
// end one after the other or all at once, and when they are back: none takes another for a
// station outside the cluster.
func TestAllSpeakersLeave(t *testing.T) {
	s := begin(t)
	s.givenSpeakerArgument("--bgp-farewell=3s")
	p := s.givenPool(dual, of(6))
	s.givenPods(s.nodes...)
	addrs := make(map[string][]netip.Addr)
	for i := range p.size {
		name := fmt.Sprintf("web-%d", i)
		s.givenService(name, dual, fromPool(p))
		addrs[name] = s.expectAddressesOf(name, p.addrs(i))
		s.expectReachable(addrs[name])
	}

	forgo := s.givenSilentPeer()
	owner := s.expectAnnounced(p.addrs(0)[0])
	s.must(s.lab.Terminate(target(s.speakerOn(owner))))
	s.expectMoved(p.addrs(0)[0], owner)
	s.expectTakingPart(owner)
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

	forgo()
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

// givenSpeakerArgument has speakers started with one more argument until they are installed
// anew, which they are when the story ends.
func (s *story) givenSpeakerArgument(argument string) {
	s.Helper()
	s.afterwards(func() { s.check(s.stage.Install(s.ctx)) })
	s.kubectl("-n", heraldNS, "patch", "daemonset/speaker", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/args/0","value":"`+argument+`"}]`)
	s.awaitRollout("daemonset/speaker")
}

// givenSilentPeer gives the speakers a router that does not answer, until the story ends or
// forgo is called. One that starts waits for it a while before it is ready.
func (s *story) givenSilentPeer() (forgo func()) {
	s.Helper()
	forgo = sync.OnceFunc(func() { s.kubectl("-n", heraldNS, "delete", "bgppeer", "silent") })
	s.afterwards(forgo)
	s.apply(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: silent, namespace: ` + heraldNS + `}
spec: {myASN: 64512, peerASN: 64999, peerAddress: 198.51.100.9}
`)
	return forgo
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
