// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// DrainMark is how an administrator marks a node that is to hand all its addresses
// over, and to get none, until the mark is taken off: a taint or an annotation, each by
// its key. The presence counts, not the value, nor the effect of a taint. The zero value
// marks no node; cordoning a node marks it only if the administrator chose
// node.kubernetes.io/unschedulable for the taint.
type DrainMark struct {
	Taint, Annotation string
}

// On reports whether the node bears the mark. It does not modify n.
func (m DrainMark) On(n *corev1.Node) bool {
	if m.Annotation != "" {
		if _, ok := n.Annotations[m.Annotation]; ok {
			return true
		}
	}
	return m.Taint != "" && slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == m.Taint })
}
