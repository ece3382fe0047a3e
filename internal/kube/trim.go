// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// trimMeta drops the metadata that Herald never reads, which is often most of an
// object: who wrote which field, and the last applied manifest.
func trimMeta(obj runtime.Object) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	m.SetManagedFields(nil)
	m.SetSelfLink("")
}

// TrimService keeps of a Service what lb.ParseService reads, and its conditions.
func TrimService(s *corev1.Service) {
	for key := range s.Annotations {
		if !strings.HasPrefix(key, "metallb.io/") && !strings.HasPrefix(key, "metallb.universe.tf/") {
			delete(s.Annotations, key)
		}
	}
	if len(s.Annotations) == 0 {
		s.Annotations = nil
	}
	s.OwnerReferences = nil
	s.Finalizers = nil
	s.Spec.ExternalIPs = nil
	s.Spec.LoadBalancerSourceRanges = nil
	s.Spec.SessionAffinityConfig = nil
}

// TrimEndpointSlice keeps of an EndpointSlice which nodes have usable endpoints and
// drops the addresses, so that a slice of a hundred pods costs no more than its nodes.
func TrimEndpointSlice(s *discoveryv1.EndpointSlice) {
	s.Labels = keepLabel(s.Labels, discoveryv1.LabelServiceName)
	s.Annotations = nil
	s.OwnerReferences = nil
	s.Ports = nil
	kept := make([]discoveryv1.Endpoint, 0, len(s.Endpoints))
	seen := make(map[endpointKind]bool, len(s.Endpoints))
	for _, e := range s.Endpoints {
		kind := endpointKind{ready: is(e.Conditions.Ready, true), serving: is(e.Conditions.Serving, false)}
		if e.NodeName != nil {
			kind.node, kind.placed = *e.NodeName, true
		}
		if seen[kind] {
			continue
		}
		seen[kind] = true
		kept = append(kept, discoveryv1.Endpoint{NodeName: e.NodeName, Conditions: e.Conditions})
	}
	s.Endpoints = slices.Clip(kept)
}

// endpointKind is what two endpoints have in common when Herald need not tell them apart.
type endpointKind struct {
	node           string
	placed         bool
	ready, serving bool
}

func is(b *bool, unset bool) bool {
	if b == nil {
		return unset
	}
	return *b
}

// TrimNode keeps of a Node its labels, its addresses and the NetworkUnavailable
// condition. Heartbeats then change nothing that is stored but resourceVersion.
func TrimNode(n *corev1.Node) {
	n.Annotations = nil
	n.Spec = corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable}
	var conditions []corev1.NodeCondition
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			conditions = append(conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses, Conditions: conditions}
}

// TrimNamespace keeps of a Namespace its name and labels.
func TrimNamespace(n *corev1.Namespace) {
	n.Annotations = nil
	n.Spec = corev1.NamespaceSpec{}
	n.Status = corev1.NamespaceStatus{}
}

func keepLabel(ls map[string]string, name string) map[string]string {
	if v, ok := ls[name]; ok {
		return map[string]string{name: v}
	}
	return nil
}
