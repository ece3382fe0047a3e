// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"slices"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// Trimmer drops from objects what does not decide about announcements, before the
// informers that feed an Inventory store them, and lets them share what is alike. The
// zero value is ready. It is safe for concurrent use.
type Trimmer struct {
	mu sync.Mutex // guards what follows
	// nodes has each name once: tens of thousands of endpoints are on a few nodes.
	nodes map[string]*string
	// pools has the annotations of Services with an address from that pool.
	pools map[string]map[string]string
}

// Service trims a Service. Ports, cluster IPs and the selector are most of it, and no
// business of a speaker.
func (t *Trimmer) Service(s *corev1.Service) {
	s.ObjectMeta = metav1.ObjectMeta{
		Namespace: unique.Make(s.Namespace).Value(), Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
		CreationTimestamp: s.CreationTimestamp, Labels: s.Labels, Annotations: t.annotations(s.Annotations),
	}
	s.Spec = corev1.ServiceSpec{
		Type: s.Spec.Type, LoadBalancerClass: s.Spec.LoadBalancerClass,
		ExternalTrafficPolicy: s.Spec.ExternalTrafficPolicy, IPFamilies: s.Spec.IPFamilies,
	}
	ingress := make([]corev1.LoadBalancerIngress, 0, len(s.Status.LoadBalancer.Ingress))
	for _, i := range s.Status.LoadBalancer.Ingress {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: i.IP})
	}
	s.Status = corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}}
}

// annotations returns the one annotation that counts, which says where the address
// was allocated from.
func (t *Trimmer) annotations(all map[string]string) map[string]string {
	pool, ok := all[v1beta1.AnnotationAllocatedFromPool]
	if !ok {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools == nil {
		t.pools = make(map[string]map[string]string)
	}
	known, ok := t.pools[pool]
	if !ok {
		known = map[string]string{v1beta1.AnnotationAllocatedFromPool: pool}
		t.pools[pool] = known
	}
	return known
}

// TrimNode returns what trims a Node as kube.TrimNode does, but for the annotation that
// marks a node to be drained.
func TrimNode(drain lb.DrainMark) func(*corev1.Node) {
	return func(n *corev1.Node) {
		value, marked := n.Annotations[drain.Annotation]
		kube.TrimNode(n)
		if marked {
			n.Annotations = map[string]string{drain.Annotation: value}
		}
	}
}

// EndpointSlice trims an EndpointSlice to one usable endpoint for each node that has
// any, so that a slice of a hundred pods costs no more than its nodes.
func (t *Trimmer) EndpointSlice(s *discoveryv1.EndpointSlice) {
	usable := lb.ParseEndpoints([]*discoveryv1.EndpointSlice{s})
	endpoints := make([]discoveryv1.Endpoint, 0, len(usable.Nodes)+1)
	for node := range usable.Nodes {
		endpoints = append(endpoints, discoveryv1.Endpoint{NodeName: t.name(string(node))})
	}
	if usable.Elsewhere {
		endpoints = append(endpoints, discoveryv1.Endpoint{})
	}
	// An endpoint without conditions is ready (the API says so): these are usable.
	s.Endpoints = slices.Clip(endpoints)
	s.ObjectMeta = metav1.ObjectMeta{
		Namespace: unique.Make(s.Namespace).Value(), Name: s.Name, ResourceVersion: s.ResourceVersion,
		GenerateName: serviceOf(s).Name,
	}
	s.Ports = nil
}

// serviceOf returns the Service that an EndpointSlice is of, whether it has been
// trimmed or not. Trimmed ones have its name where names are generated from: a map for
// one label would be as large as the rest of the object.
func serviceOf(s *discoveryv1.EndpointSlice) lb.ServiceName {
	name, ok := s.Labels[discoveryv1.LabelServiceName]
	if !ok && s.Labels == nil {
		name = s.GenerateName
	}
	return lb.ServiceName{Namespace: s.Namespace, Name: name}
}

func (t *Trimmer) name(node string) *string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes == nil {
		t.nodes = make(map[string]*string)
	}
	known, ok := t.nodes[node]
	if !ok {
		known = &node
		t.nodes[node] = known
	}
	return known
}
