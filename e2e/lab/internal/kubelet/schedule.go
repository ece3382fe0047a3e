// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
)

var everything = labels.Everything()

// schedule binds a pod to the eligible node that has the fewest pods of the same
// owner, then the fewest pods, then the first name: the replicas of a Deployment
// go round. A node without power gets none: where a cluster would learn of it from
// missing heartbeats, the lab knows. A pod that fits nowhere waits for nodes to
// change.
func (k *Kubelet) schedule(ctx context.Context, pod *corev1.Pod) error {
	if k.assumedNode(pod.UID) != "" {
		return nil
	}
	nodes, err := k.apinodes.List(everything)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool {
		return k.nodes[n.Name] == nil || k.isDown(n.Name) || !eligible(pod, n)
	})
	if len(nodes) == 0 {
		k.config.Log.Info("pod fits no node", "pod", pod.Namespace+"/"+pod.Name)
		return nil
	}
	own, all, err := k.load(pod)
	if err != nil {
		return err
	}
	node := slices.MinFunc(nodes, func(a, b *corev1.Node) int {
		return cmp.Or(cmp.Compare(own[a.Name], own[b.Name]), cmp.Compare(all[a.Name], all[b.Name]), cmp.Compare(a.Name, b.Name))
	})
	err = k.config.Client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted, or bound by an earlier attempt; the informer will tell
	}
	if err != nil {
		return fmt.Errorf("bind pod to %s: %w", node.Name, err)
	}
	k.mu.Lock()
	k.assumed[pod.UID] = node.Name
	k.mu.Unlock()
	return nil
}

func (k *Kubelet) assumedNode(uid types.UID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.assumed[uid]
}

// load counts, by node, the pods of the same owner and all pods.
func (k *Kubelet) load(pod *corev1.Pod) (own, all map[string]int, err error) {
	pods, err := k.pods.List(everything)
	if err != nil {
		return nil, nil, fmt.Errorf("list pods: %w", err)
	}
	own, all = map[string]int{}, map[string]int{}
	for _, other := range pods {
		node := other.Spec.NodeName
		if node == "" {
			node = k.assumedNode(other.UID)
		}
		if node == "" || other.DeletionTimestamp != nil {
			continue
		}
		all[node]++
		if a, b := metav1.GetControllerOf(pod), metav1.GetControllerOf(other); a != nil && b != nil && a.UID == b.UID {
			own[node]++
		}
	}
	return own, all, nil
}

// eligible says whether a pod may run on a node: node selector, required node
// affinity, taints and cordons. Pod affinity and resources are not looked at.
func eligible(pod *corev1.Pod, node *corev1.Node) bool {
	if !labels.SelectorFromSet(pod.Spec.NodeSelector).Matches(labels.Set(node.Labels)) {
		return false
	}
	taints := node.Spec.Taints
	if node.Spec.Unschedulable {
		taints = append(slices.Clone(taints), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	for _, taint := range taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(pod, taint) {
			return false
		}
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	return slices.ContainsFunc(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms,
		func(term corev1.NodeSelectorTerm) bool {
			return matches(term.MatchExpressions, labels.Set(node.Labels)) &&
				matches(term.MatchFields, labels.Set{"metadata.name": node.Name})
		})
}

func tolerated(pod *corev1.Pod, taint corev1.Taint) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			return false
		}
		return t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
	})
}

var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn:           selection.In,
	corev1.NodeSelectorOpNotIn:        selection.NotIn,
	corev1.NodeSelectorOpExists:       selection.Exists,
	corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt:           selection.GreaterThan,
	corev1.NodeSelectorOpLt:           selection.LessThan,
}

func matches(requirements []corev1.NodeSelectorRequirement, set labels.Set) bool {
	for _, r := range requirements {
		requirement, err := labels.NewRequirement(r.Key, operators[r.Operator], r.Values)
		if err != nil || !requirement.Matches(set) {
			return false
		}
	}
	return true
}

// itoa saves the files of this package an import each.
func itoa[T ~int | ~int32 | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
