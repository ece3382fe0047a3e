// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTrimServiceKeepsOurAnnotations(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{
			"metallb.io/loadBalancerIPs":                       "192.0.2.1",
			"metallb.universe.tf/allow-shared-ip":              "web",
			"kubectl.kubernetes.io/last-applied-configuration": "{...}",
		},
	}}
	TrimService(s)
	want := map[string]string{
		"metallb.io/loadBalancerIPs":          "192.0.2.1",
		"metallb.universe.tf/allow-shared-ip": "web",
	}
	if diff := cmp.Diff(want, s.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestTrimEndpointSliceKeepsOneEndpointOfAKind(t *testing.T) {
	yes, no := true, false
	node := func(name string) *string { return &name }
	endpoint := func(address string, node *string, ready, serving *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{address}, NodeName: node,
			Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving},
		}
	}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: "web", "other": "x"}},
		Endpoints: []discoveryv1.Endpoint{
			endpoint("10.0.0.1", node("a"), &yes, &yes),
			endpoint("10.0.0.2", node("a"), nil, &yes), // ready unset means ready
			endpoint("10.0.0.3", node("a"), &no, &yes), // terminating, still serving
			endpoint("10.0.0.4", node("b"), &yes, &yes),
			endpoint("10.0.0.5", nil, &yes, &yes),
			endpoint("10.0.0.6", nil, &yes, &yes),
		},
	}
	TrimEndpointSlice(s)
	want := []discoveryv1.Endpoint{
		{NodeName: node("a"), Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}},
		{NodeName: node("a"), Conditions: discoveryv1.EndpointConditions{Ready: &no, Serving: &yes}},
		{NodeName: node("b"), Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}},
		{Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}},
	}
	if diff := cmp.Diff(want, s.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{discoveryv1.LabelServiceName: "web"}, s.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
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
