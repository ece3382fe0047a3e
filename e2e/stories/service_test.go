// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// backendPort is where echo pods listen, over TCP and UDP.
const backendPort = 8080

// givenPods runs an echo pod on each of the nodes; all belong to every Service of the
// story.
func (s *story) givenPods(nodes ...string) {
	s.Helper()
	for _, node := range nodes {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "echo-" + node, Labels: map[string]string{"app": "echo"}},
			Spec: corev1.PodSpec{
				NodeName: node,
				Containers: []corev1.Container{{
					Name: "echo", Image: "herald-lb/echo",
					Ports: []corev1.ContainerPort{{ContainerPort: backendPort}},
				}},
			},
		}
		_, err := s.api().CoreV1().Pods(s.ns).Create(s.ctx, pod, metav1.CreateOptions{})
		s.must(err)
	}
}

// deletePod ends the story's echo pod on a node.
func (s *story) deletePod(node string) {
	s.Helper()
	now := int64(0)
	s.must(s.api().CoreV1().Pods(s.ns).Delete(s.ctx, "echo-"+node, metav1.DeleteOptions{GracePeriodSeconds: &now}))
}

type serviceOption func(*corev1.Service)

// annotated gives a Service an annotation.
func annotated(key, value string) serviceOption {
	return func(service *corev1.Service) { metav1.SetMetaDataAnnotation(&service.ObjectMeta, key, value) }
}

// fromPool asks for an address of one pool by name.
func fromPool(p *pool) serviceOption { return annotated("metallb.io/address-pool", p.name) }

// local is externalTrafficPolicy: Local.
func local(service *corev1.Service) {
	service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

// ofClass sets loadBalancerClass.
func ofClass(class string) serviceOption {
	return func(service *corev1.Service) { service.Spec.LoadBalancerClass = &class }
}

// exposing replaces port 80 by others.
func exposing(ports ...corev1.ServicePort) serviceOption {
	return func(service *corev1.Service) { service.Spec.Ports = ports }
}

func port(protocol corev1.Protocol, number int32) corev1.ServicePort {
	return corev1.ServicePort{
		Name: fmt.Sprintf("port-%d", number), Protocol: protocol, Port: number,
		TargetPort: intstr.FromInt32(backendPort),
	}
}

// givenService creates a Service of type LoadBalancer for the story's pods.
func (s *story) givenService(name string, f family, options ...serviceOption) {
	s.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "echo"},
			Ports:    []corev1.ServicePort{port(corev1.ProtocolTCP, 80)},
		},
	}
	f.ask(service)
	for _, option := range options {
		option(service)
	}
	_, err := s.api().CoreV1().Services(s.ns).Create(s.ctx, service, metav1.CreateOptions{})
	s.must(err)
}

// deleteService deletes a Service of the story.
func (s *story) deleteService(name string) {
	s.Helper()
	s.must(s.api().CoreV1().Services(s.ns).Delete(s.ctx, name, metav1.DeleteOptions{}))
}

// patchService is a merge patch.
func (s *story) patchService(name, patch string, subresource ...string) {
	s.Helper()
	_, err := s.api().CoreV1().Services(s.ns).Patch(s.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresource...)
	s.must(err)
}

func (s *story) service(name string) *corev1.Service {
	s.Helper()
	service, err := s.api().CoreV1().Services(s.ns).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	return service
}

// addressesOf returns what is in a Service's status.
func addressesOf(service *corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(ingress.IP)
		if err != nil {
			addr = netip.Addr{} // stands out in every comparison
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// expectAssigned returns the Service's addresses, when it has one of each of its
// families, all from the pool.
func (s *story) expectAssigned(name string, from *pool) []netip.Addr {
	s.Helper()
	var addrs []netip.Addr
	s.await(patience, "addresses for "+name, func() error {
		service := s.service(name)
		if addrs = addressesOf(service); len(addrs) != len(service.Spec.IPFamilies) {
			return fmt.Errorf("status has %v", addrs)
		}
		return nil
	})
	for i, addr := range addrs {
		if !from.contains(addr) {
			s.Fatalf("%s has %s, which is not in %s %v", name, addr, from.name, from.addresses)
		}
		if want := corev1.IPv4Protocol; (s.service(name).Spec.IPFamilies[i] == want) != addr.Is4() {
			s.Fatalf("%s has %v; want the families %v in this order", name, addrs, s.service(name).Spec.IPFamilies)
		}
	}
	if got := s.service(name).Annotations["metallb.io/ip-allocated-from-pool"]; got != from.name {
		s.Errorf("%s is annotated as allocated from %q; want %q", name, got, from.name)
	}
	return addrs
}

// expectAddresses waits until the Service has exactly these addresses.
func (s *story) expectAddresses(name string, want []netip.Addr) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to have %v", name, want), func() error {
		if got := addressesOf(s.service(name)); !slices.Equal(got, want) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// expectUntouched fails if anybody assigned anything to the Service, said anything
// about it or marked it. To know that Herald has had its chance, it has a canary with
// an address of its own created and served after it.
func (s *story) expectUntouched(name string) {
	s.Helper()
	s.canary()
	s.checkUntouched(name)
}

func (s *story) checkUntouched(name string) {
	s.Helper()
	service := s.service(name)
	if addrs := addressesOf(service); len(addrs) > 0 {
		s.Errorf("%s has %v; want no address", name, addrs)
	}
	if len(service.Annotations) > 0 || len(service.Finalizers) > 0 || len(service.Status.Conditions) > 0 {
		s.Errorf("%s was touched: annotations %v, finalizers %v, conditions %v",
			name, service.Annotations, service.Finalizers, service.Status.Conditions)
	}
	if events := s.eventsOf(name); len(events) > 0 {
		s.Errorf("%s was talked about: %v", name, events)
	}
}

// expectWaiting fails if the Service gets an address before a canary gets one, and
// waits until an Event of the reason says why it has none.
func (s *story) expectWaiting(name, reason, why string) {
	s.Helper()
	s.expectEvent(name, reason, why)
	s.canary()
	if addrs := addressesOf(s.service(name)); len(addrs) > 0 {
		s.Fatalf("%s has %v; want no address", name, addrs)
	}
}

// canary creates a Service with a pool of its own and waits until it has its address:
// whatever was asked of the controller before has been looked at by then.
func (s *story) canary() {
	s.Helper()
	s.canaries++
	name := fmt.Sprintf("canary-%d", s.canaries)
	p := s.givenPool(ipv4, of(1), notAutomatic)
	s.givenService(name, ipv4, fromPool(p))
	s.expectAssigned(name, p)
}

// expectReleased waits until the Service has no address and nothing else of Herald's.
func (s *story) expectReleased(name string) {
	s.Helper()
	s.await(patience, name+" to have no address", func() error {
		service := s.service(name)
		if addrs := addressesOf(service); len(addrs) > 0 {
			return fmt.Errorf("it has %v", addrs)
		}
		if len(service.Status.Conditions) > 0 || service.Annotations["metallb.io/ip-allocated-from-pool"] != "" {
			return errors.New("it still carries Herald's marks")
		}
		return nil
	})
}
