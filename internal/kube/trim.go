// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
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
		if !strings.HasPrefix(key, "metallb.io/") && !strings.HasPrefix(key, "herald-lb.io/") && !strings.HasPrefix(key, "metallb.universe.tf/") {
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
