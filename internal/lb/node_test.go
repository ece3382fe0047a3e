// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

func TestParseNode(t *testing.T) {
	t.Parallel()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus) corev1.NodeStatus {
		return corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}, {Type: kind, Status: status}}}
	}
	for _, tt := range []struct {
		name   string
		labels map[string]string
		status corev1.NodeStatus
		want   lb.Node
	}{
		{"bare", nil, corev1.NodeStatus{}, lb.Node{}},
		{
			"addresses",
			nil,
			corev1.NodeStatus{Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "n1"},
				{Type: corev1.NodeInternalIP, Address: "2001:db8::1"},
				{Type: corev1.NodeExternalIP, Address: "203.0.113.1"},
				{Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
				{Type: corev1.NodeInternalIP, Address: "::ffff:192.0.2.2"},
				{Type: corev1.NodeInternalIP, Address: "n1.example.com"},
			}},
			lb.Node{Addresses: []netip.Addr{addr("2001:db8::1"), addr("192.0.2.1"), addr("192.0.2.2")}},
		},
		{"network unavailable", nil, condition(corev1.NodeNetworkUnavailable, corev1.ConditionTrue), lb.Node{NetworkUnavailable: true}},
		{"network available", nil, condition(corev1.NodeNetworkUnavailable, corev1.ConditionFalse), lb.Node{}},
		{"network in doubt", nil, condition(corev1.NodeNetworkUnavailable, corev1.ConditionUnknown), lb.Node{}},
		{"another condition", nil, condition(corev1.NodeDiskPressure, corev1.ConditionTrue), lb.Node{}},
		{
			"excluded, whatever the label says",
			map[string]string{"node.kubernetes.io/exclude-from-external-load-balancers": "false", "rack": "b"},
			corev1.NodeStatus{},
			lb.Node{Excluded: true, Labels: labels.Set{"node.kubernetes.io/exclude-from-external-load-balancers": "false", "rack": "b"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Name = "n1"
			got := lb.ParseNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: tt.labels}, Status: tt.status})
			if diff := cmp.Diff(tt.want, got, equateAddrs); diff != "" {
				t.Errorf("node (-want +got):\n%s", diff)
			}
		})
	}
}

// conditions are written as in "ready=T serving=F": T, F, or nothing where unset.
func endpoint(node string, ready, serving string) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}}
	if node != "" {
		e.NodeName = &node
	}
	if ready != "" {
		e.Conditions.Ready = new(ready == "T")
	}
	if serving != "" {
		e.Conditions.Serving = new(serving == "T")
	}
	e.Conditions.Terminating = new(serving == "T" && ready == "F")
	return e
}

func slice(kind discoveryv1.AddressType, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{AddressType: kind, Endpoints: endpoints}
}

func TestParseEndpoints(t *testing.T) {
	t.Parallel()
	on := func(nodes ...lb.NodeName) map[lb.NodeName]struct{} {
		set := map[lb.NodeName]struct{}{}
		for _, n := range nodes {
			set[n] = struct{}{}
		}
		return set
	}
	for _, tt := range []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   lb.Endpoints
	}{
		{"no slice", nil, lb.Endpoints{}},
		{"empty slice", []*discoveryv1.EndpointSlice{slice("IPv4")}, lb.Endpoints{}},
		{
			"the six states",
			[]*discoveryv1.EndpointSlice{slice("IPv4",
				endpoint("ready", "T", "T"), endpoint("ready-only", "T", ""), endpoint("unsaid", "", ""),
				endpoint("terminating", "F", "T"), endpoint("gone", "F", "F"), endpoint("starting", "F", ""))},
			lb.Endpoints{Nodes: on("ready", "ready-only", "unsaid", "terminating")},
		},
		{
			"several slices of both families",
			[]*discoveryv1.EndpointSlice{
				slice("IPv6", endpoint("a", "T", "T")), slice("IPv4", endpoint("a", "F", "F"), endpoint("b", "T", "T")), slice("IPv4", endpoint("b", "T", "T")),
			},
			lb.Endpoints{Nodes: on("a", "b")},
		},
		{"host names are no addresses", []*discoveryv1.EndpointSlice{slice("FQDN", endpoint("a", "T", "T"))}, lb.Endpoints{}},
		{"outside the cluster", []*discoveryv1.EndpointSlice{slice("IPv4", endpoint("", "T", "T"))}, lb.Endpoints{Elsewhere: true}},
		{"outside and not ready", []*discoveryv1.EndpointSlice{slice("IPv4", endpoint("", "F", "F"))}, lb.Endpoints{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := lb.ParseEndpoints(tt.slices)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
			if want := len(tt.want.Nodes) > 0 || tt.want.Elsewhere; got.Any() != want {
				t.Errorf("Any() = %v; want %v", got.Any(), want)
			}
			if _, want := tt.want.Nodes["a"]; got.On("a") != want {
				t.Errorf("On(a) = %v; want %v", got.On("a"), want)
			}
		})
	}
}

// FuzzParseEndpoints holds the parser against one endpoint at a time: the whole is
// usable exactly where one of its parts is.
func FuzzParseEndpoints(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{9, 18, 27, 255})
	states := []string{"", "T", "F"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole := slice("IPv4")
		var want lb.Endpoints
		for _, b := range raw {
			node := fmt.Sprint("n", b/9%4)
			if b/9%4 == 3 {
				node = ""
			}
			e := endpoint(node, states[b%3], states[b/3%3])
			whole.Endpoints = append(whole.Endpoints, e)
			if states[b%3] == "F" && states[b/3%3] != "T" {
				continue
			}
			if node == "" {
				want.Elsewhere = true
				continue
			}
			if want.Nodes == nil {
				want.Nodes = map[lb.NodeName]struct{}{}
			}
			want.Nodes[lb.NodeName(node)] = struct{}{}
		}
		if diff := cmp.Diff(want, lb.ParseEndpoints([]*discoveryv1.EndpointSlice{whole})); diff != "" {
			t.Errorf("endpoints (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkParseEndpoints(b *testing.B) {
	s := slice("IPv4")
	for i := range 100 {
		s.Endpoints = append(s.Endpoints, endpoint(fmt.Sprint("node-", i%10), "T", "T"))
	}
	b.ReportAllocs()
	for b.Loop() {
		lb.ParseEndpoints([]*discoveryv1.EndpointSlice{s})
	}
}
