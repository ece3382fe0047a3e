// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTrimServiceKeepsOurAnnotations(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{
			"metallb.io/loadBalancerIPs":                       "192.0.2.1",
			"metallb.universe.tf/allow-shared-ip":              "web",
			"herald-lb.io/allow-local-sharing":                 "true",
			"kubectl.kubernetes.io/last-applied-configuration": "{...}",
		},
	}}
	TrimService(s)
	want := map[string]string{
		"metallb.io/loadBalancerIPs":          "192.0.2.1",
		"metallb.universe.tf/allow-shared-ip": "web",
		"herald-lb.io/allow-local-sharing":    "true",
	}
	if diff := cmp.Diff(want, s.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestTrimNodeForgetsHeartbeats(t *testing.T) {
	node := func(heartbeat int64) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"rack": "1"}},
			Status: corev1.NodeStatus{
				Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}},
				Conditions: []corev1.NodeCondition{
					{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Unix(heartbeat, 0)},
					{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Unix(heartbeat, 0)},
				},
				Images: []corev1.ContainerImage{{Names: []string{"big"}}},
			},
		}
	}
	earlier, later := node(1), node(2)
	TrimNode(earlier)
	TrimNode(later)
	if diff := cmp.Diff(earlier, later); diff != "" {
		t.Errorf("a heartbeat changes the trimmed node (-earlier +later):\n%s", diff)
	}
	if len(earlier.Status.Addresses) != 1 || earlier.Labels["rack"] != "1" || len(earlier.Status.Conditions) != 1 {
		t.Errorf("trimmed too much: %+v", earlier)
	}
}
