// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// allowLocalSharing opts in to sharing with Services that have another selector.
const allowLocalSharing = "herald-lb.io/allow-local-sharing"

// selecting has a Service send its traffic to the pods of one app.
func selecting(app string) serviceOption {
	return func(service *corev1.Service) { service.Spec.Selector = map[string]string{"app": app} }
}

// givenPodsOf runs a pod of an app on each of the nodes.
func (s *story) givenPodsOf(app string, nodes ...string) {
	s.Helper()
	for _, node := range nodes {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: app + "-" + node, Labels: map[string]string{"app": app}},
			Spec: corev1.PodSpec{
				NodeName: node,
				Containers: []corev1.Container{{
					Name: "echo", Image: "herald-lb/echo", Ports: []corev1.ContainerPort{{ContainerPort: backendPort}},
				}},
			},
		}
		_, err := s.api().CoreV1().Pods(s.ns).Create(s.ctx, pod, metav1.CreateOptions{})
		s.must(err)
	}
}

// deletePodOf ends the pod of an app on a node.
func (s *story) deletePodOf(app, node string) {
	s.Helper()
	now := int64(0)
	s.must(s.api().CoreV1().Pods(s.ns).Delete(s.ctx, app+"-"+node, metav1.DeleteOptions{GracePeriodSeconds: &now}))
}

// Services with externalTrafficPolicy Local and different selectors share an address if
// both agree. The node that announces it has pods of both, wherever else they run.
func TestLocalServicesShare(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		first, common, last := s.nodes[0], s.nodes[1], s.nodes[2]
		p := s.givenPool(f)
		s.givenPodsOf("red", first, common)
		s.givenPodsOf("blue", common, last)
		s.givenService("red", f, selecting("red"), local, sharing("k"), onTCP(80), annotated(allowLocalSharing, "true"))
		s.expectAddresses("red", p.addrs(0))
		s.givenService("blue", f, selecting("blue"), local, sharing("k"), onTCP(443), annotated(allowLocalSharing, "true"))
		s.expectAddresses("blue", p.addrs(0))

		for _, addr := range p.addrs(0) {
			s.expectAnnouncedBy(addr, common)
			for _, port := range []uint16{80, 443} {
				s.await(patience, fmt.Sprintf("an answer of %s at port %d of %s", common, port, addr), func() error {
					// The client may remember for a moment who had the address before.
					if reply := s.expectAnswer("http", addr, port); reply.Node != common {
						return fmt.Errorf("the pod on %s answers", reply.Node)
					}
					return nil
				})
			}
			s.expectClientPreserved(addr)
		}
		s.expectL2Status("red", common)
		s.expectL2Status("blue", common)
	})
}

// When the pods of two such Services do not meet on any node any more, the older one is
// served on. The younger one keeps its address and is told; it is served again when they
// meet.
func TestLocalServicesPart(t *testing.T) {
	s := begin(t)
	first, last := s.nodes[0], s.nodes[2]
	addrs := s.givenPool(ipv4).addrs(0)
	s.givenPodsOf("red", first)
	s.givenPodsOf("blue", first, last)
	s.givenService("red", ipv4, selecting("red"), local, sharing("k"), onTCP(80), annotated(allowLocalSharing, "true"))
	s.expectAddresses("red", addrs)
	s.awaitNextSecond()
	s.givenService("blue", ipv4, selecting("blue"), local, sharing("k"), onTCP(443), annotated(allowLocalSharing, "true"))
	s.expectAddresses("blue", addrs)
	s.expectL2Status("blue", first)
	records, stop := s.connectToAll(addrs)

	s.deletePodOf("blue", first)
	s.expectEvent("blue", "announceFailed", "older ones that share the address")
	s.expectNoL2Status("blue")
	s.expectL2Status("red", first)
	s.expectAddresses("blue", addrs)
	s.expectAnswers(records[0], 20)

	s.givenPodsOf("red", last)
	s.expectL2Status("blue", last)
	s.expectL2Status("red", last)
	s.expectAnswer("http", addrs[0], 443)
	s.expectAnswers(records[0], 20)
	stop()
	s.expectGaps(addrs, records)
	s.expectEvents("blue", "announceFailed", 1)
	s.expectEvents("blue", "ClearAssignment", 0)
}

// Who shares with another selector, and has not agreed to it on both sides, is told which
// annotation is missing and from whom; who takes it away loses the address.
func TestLocalSharingRefused(t *testing.T) {
	s := begin(t)
	wanted := s.givenPool(ipv4).addrs(0)
	agree := func(name, value string) {
		s.Helper()
		s.patchService(name, fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, allowLocalSharing, value))
	}
	s.givenService("red", ipv4, selecting("red"), local, sharing("k"), onTCP(80), asking(wanted))
	s.expectAddresses("red", wanted)
	s.givenService("blue", ipv4, selecting("blue"), local, sharing("k"), onTCP(443), asking(wanted))
	s.expectDenied("blue", "SharingRefused", "another selector", allowLocalSharing, "missing from "+s.ns+"/red and this one")
	agree("blue", `"true"`)
	s.expectDenied("blue", "SharingRefused", "missing from "+s.ns+"/red")
	agree("red", `"true"`)
	s.expectAddresses("blue", wanted)

	agree("blue", "null")
	s.expectDenied("blue", "SharingRefused", "missing from this one")
	s.expectTakenBack("blue", join(wanted), allowLocalSharing, "nothing replaces it")
	s.expectAddresses("red", wanted)
	agree("blue", `"yes"`)
	s.expectEvent("blue", "LoadBalancerFailed", `"yes" is neither "true" nor "false"`)
	agree("blue", `"true"`)
	s.expectAddresses("blue", wanted)
	s.expectEvents("red", "ClearAssignment", 0)
}
