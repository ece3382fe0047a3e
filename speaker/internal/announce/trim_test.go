// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// What is trimmed away must not count: the plan sees the same Service as before.
func TestTrimServiceKeepsWhatCounts(t *testing.T) {
	class := "example.org/x"
	s := service("web", "192.0.2.1", "2001:db8::1")
	s.CreationTimestamp = metav1.NewTime(time.Unix(1000, 0))
	s.Labels = map[string]string{"app": "web"}
	s.Annotations = map[string]string{v1beta1.AnnotationAllocatedFromPool: "pool", "kubectl": "a lot"}
	s.Finalizers, s.GenerateName = []string{"x"}, "x"
	s.Spec.LoadBalancerClass = &class
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	s.Spec.Selector = map[string]string{"app": "web"}
	s.Spec.ClusterIPs = []string{"10.96.0.1"}
	s.Status.Conditions = []metav1.Condition{{Type: "x"}}
	before, _ := lb.ParseService(s)
	var trimmer Trimmer
	trimmer.Service(s)
	after, problems := lb.ParseService(s)
	if len(problems) != 0 {
		t.Errorf("trimming makes problems: %v", problems)
	}
	// Those of its fields that keepService and the class filter read.
	for _, f := range []*lb.Service{&before, &after} {
		f.Ports, f.Backends, f.FamilyPolicy, f.Families = nil, "", "", nil
	}
	if diff := cmp.Diff(before, after, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("parsed (-before +after):\n%s", diff)
	}
	if s.Spec.Ports != nil || s.Spec.Selector != nil || s.Finalizers != nil || len(s.Annotations) != 1 || s.Status.Conditions != nil {
		t.Errorf("not trimmed: %+v", s)
	}
}

func TestTrimEndpointSliceKeepsWhatCounts(t *testing.T) {
	yes, no := true, false
	on := func(node string, c discoveryv1.EndpointConditions) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: &node, Conditions: c, Addresses: []string{"10.1.1.1"}}
	}
	s := slice("web")
	s.Labels["other"] = "x"
	s.Ports = []discoveryv1.EndpointPort{{}}
	s.Endpoints = []discoveryv1.Endpoint{
		on("a", discoveryv1.EndpointConditions{}),
		on("a", discoveryv1.EndpointConditions{Ready: &yes}),
		on("b", discoveryv1.EndpointConditions{Ready: &no}),
		on("c", discoveryv1.EndpointConditions{Ready: &no, Serving: &yes}),
		{Addresses: []string{"10.9.9.9"}},
	}
	var trimmer Trimmer
	before := lb.ParseEndpoints([]*discoveryv1.EndpointSlice{s})
	for range 2 { // informers may trim twice
		trimmer.EndpointSlice(s)
		if serviceOf(s).String() != "default/web" {
			t.Errorf("the slice is of %q now", serviceOf(s))
		}
	}
	if diff := cmp.Diff(before, lb.ParseEndpoints([]*discoveryv1.EndpointSlice{s})); diff != "" {
		t.Errorf("endpoints (-before +after):\n%s", diff)
	}
	if len(s.Endpoints) != 3 || s.Labels != nil || s.Ports != nil {
		t.Errorf("not trimmed: %+v", s)
	}
	other := slice("other", "a")
	trimmer.EndpointSlice(other)
	found := false
	for _, e := range s.Endpoints {
		found = found || e.NodeName == other.Endpoints[0].NodeName
	}
	if !found {
		t.Error("two slices have the same node name in two places")
	}
	stranger := slice("")
	delete(stranger.Labels, discoveryv1.LabelServiceName)
	if name := serviceOf(stranger).Name; name != "" {
		t.Errorf("a slice of no Service is of %q", name)
	}
	none := slice("none")
	trimmer.EndpointSlice(none)
	if lb.ParseEndpoints([]*discoveryv1.EndpointSlice{none}).Any() {
		t.Error("a slice without endpoints has one")
	}
}
