// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// expectUnannounced waits until a condition of the Service says that the configuration
// has nobody announce its address, and mentions each of the words; and so does an Event.
func (s *story) expectUnannounced(name, reason string, words ...string) {
	s.Helper()
	var said string
	s.await(patience, fmt.Sprintf("%s to be called not announced as %s about %q", name, reason, words), func() error {
		conditions := s.service(name).Status.Conditions
		c := meta.FindStatusCondition(conditions, "metallb.io/Announced")
		if c == nil {
			return fmt.Errorf("it has %v", conditions)
		}
		said = c.Message
		unsaid := func(word string) bool { return !strings.Contains(said, word) }
		if c.Status != metav1.ConditionFalse || c.Reason != reason || slices.ContainsFunc(words, unsaid) {
			return fmt.Errorf("it is %s, %s: %s", c.Status, c.Reason, c.Message)
		}
		return nil
	})
	s.expectEvent(name, reason, said)
}

// expectNoComplaint waits until the Service has no condition that is not true.
func (s *story) expectNoComplaint(name string) {
	s.Helper()
	s.await(patience, name+" to have nothing to complain about", func() error {
		for _, c := range s.service(name).Status.Conditions {
			if c.Status != metav1.ConditionTrue {
				return fmt.Errorf("%s is %s, %s: %s", c.Type, c.Status, c.Reason, c.Message)
			}
		}
		return nil
	})
}

// A Service whose address no advertisement covers has the address, and says that nobody
// will announce it, and why. When one covers it, it says so no more and is reachable.
func TestNobodyAnnounces(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, unadvertised)
		s.givenPods(s.nodes...)
		s.givenService("web", f)
		s.expectAddresses("web", p.addrs(0))
		s.expectUnannounced("web", "NoAdvertisement", p.addrs(0)[0].String(), p.name)

		s.advertise(p, "serviceSelectors: [{matchLabels: {lb: public}}]")
		s.expectUnannounced("web", "NoAdvertisement", p.name, "serviceSelectors of L2Advertisement "+p.name)
		s.labelService("web", "lb", `"public"`)
		s.expectNoComplaint("web")
		s.expectReachable(p.addrs(0))
		s.labelService("web", "lb", "null")
		s.expectUnannounced("web", "NoAdvertisement", "serviceSelectors")

		s.advertise(p, "serviceSelectors: []")
		s.expectNoComplaint("web")
		s.expectReachable(p.addrs(0))
		s.expectEvents("web", "IPAllocated", 1)
	})
}

// Where BGP is all there is to announce an address, and no peer hears of it, that is said.
func TestNobodyIsTold(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, unadvertised)
	s.afterwards(func() {
		s.check(s.api().CoreV1().RESTClient().Delete().
			AbsPath("/apis/metallb.io/v1beta1/namespaces/" + heraldNS + "/bgpadvertisements/" + p.name).Do(s.ctx).Error())
	})
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: %s, namespace: %s}
spec: {ipAddressPools: [%s]}
`, p.name, heraldNS, p.name))
	s.givenService("web", ipv4)
	s.expectAddresses("web", p.addrs(0))
	s.expectUnannounced("web", "NoPeer", p.addrs(0)[0].String(), "BGPAdvertisement "+p.name, "BGPPeer")
	s.advertise(p, "")
	s.expectNoComplaint("web")
}

// The leader counts Services by why they have no address, and by why nobody announces the
// address they have; those of another class, too.
func TestReasonsAreCounted(t *testing.T) {
	s := begin(t)
	reader := s.givenAccount("reader", "metallb-system:metrics-reader")
	p := s.givenPool(ipv4, of(1), unadvertised)
	s.givenService("mute", ipv4, fromPool(p))
	s.expectUnannounced("mute", "NoAdvertisement", p.name)
	s.givenService("late", ipv4, fromPool(p))
	s.expectDenied("late", "PoolFull", p.name+" (1 IPv4)")
	s.givenService("foreign", ipv4, ofClass("example.com/other"))
	s.expectMetrics(s.expectLeader(), reader, map[string]string{
		`herald_controller_services{reason="PoolFull"}`:                      "1",
		`herald_controller_services{reason="OtherClass"}`:                    "1",
		`herald_controller_services{reason="Allocated"}`:                     "1",
		`herald_controller_services_not_announced{reason="NoAdvertisement"}`: "1",
	})
}
