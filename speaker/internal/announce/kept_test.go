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

// The plan sees the Service that the API server has shown, as far as it reads it.
func TestKeptServiceHasWhatCounts(t *testing.T) {
	s := service("web", "192.0.2.1", "2001:db8::1")
	s.CreationTimestamp = metav1.NewTime(time.Unix(1000, 0))
	s.Labels = map[string]string{"app": "web", "tier": ""}
	s.Annotations = map[string]string{v1beta1.AnnotationAllocatedFromPool: "pool,other"}
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	got := lb.Service{Labels: map[string]string{"before": "this"}, Pool: "before"}
	for _, s := range []*corev1.Service{s, service("bare")} {
		want, _ := lb.ParseService(s)
		want.Ports, want.Backends, want.FamilyPolicy, want.Families = nil, "", "", nil
		keepService(s).parse(&got)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, diff)
		}
	}
}

func TestKeptSlicesHaveWhatCounts(t *testing.T) {
	got := lb.Endpoints{Nodes: map[lb.NodeName]struct{}{"before": {}}, Elsewhere: true}
	first, second, elsewhere := slice("web", "a", "b"), slice("web", "b", "c"), slice("web")
	elsewhere.Endpoints = []discoveryv1.Endpoint{{}}
	for _, all := range [][]*discoveryv1.EndpointSlice{nil, {slice("web")}, {first}, {first, second}, {elsewhere}, {first, elsewhere}} {
		var kept []*keptSlice
		for _, s := range all {
			kept = append(kept, keepSlice(s))
		}
		setEndpoints(&got, kept)
		if diff := cmp.Diff(lb.ParseEndpoints(all), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("endpoints of %d slices (-want +got):\n%s", len(all), diff)
		}
	}
}

// Of what was there before, those who tell have kept but the name.
func TestInventoryKnowsWhatWasThere(t *testing.T) {
	v, a := NewInventory(""), netip.MustParseAddr("192.0.2.1")
	add(v, "web", a.String())
	v.take()
	name := metav1.ObjectMeta{Namespace: "default", Name: "web-x"}
	other := slice("other", "a")
	other.Name = name.Name
	v.OnEndpointSlice(&discoveryv1.EndpointSlice{ObjectMeta: name}, other)
	if _, dirty := v.take().addresses[a]; !dirty || v.sharers(a)[0].Endpoints.Any() {
		t.Error("the slice is of another Service, and web has it still")
	}
	v.OnEndpointSlice(&discoveryv1.EndpointSlice{ObjectMeta: name}, slice("web", "a"))
	if _, dirty := v.take().addresses[a]; !dirty || !v.sharers(a)[0].Endpoints.On("a") {
		t.Error("web has its slice again, and not its endpoint")
	}
	v.OnEndpointSlice(&discoveryv1.EndpointSlice{ObjectMeta: name}, nil)
	if _, dirty := v.take().addresses[a]; !dirty || v.sharers(a)[0].Endpoints.Any() {
		t.Error("the slice is gone, and web has it still")
	}
	name.Name = "web"
	v.OnService(&corev1.Service{ObjectMeta: name}, nil)
	if _, dirty := v.take().addresses[a]; !dirty || v.holds(a) {
		t.Error("web is gone, and has its address still")
	}
	if len(v.slices)+len(v.endpointSlices)+len(v.services)+len(v.holders) != 0 {
		t.Errorf("kept of what is gone: %v, %v, %v, %v", v.slices, v.endpointSlices, v.services, v.holders)
	}
}

func TestStatusIsForgottenByItsName(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		known := func() (objects, services int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.of), len(s.there)
		}
		s.Announce(web, nil)
		quiesce()
		if objects, services := known(); objects != 1 || services != 1 || !s.Present(web) {
			t.Fatalf("written: %d objects for %d services", objects, services)
		}
		api.mu.Lock()
		var gone v1beta1.ServiceL2Status
		for name := range api.objects {
			gone.Name = name
		}
		clear(api.objects)
		api.mu.Unlock()
		s.OnStatus(&gone, nil)
		if objects, services := known(); objects != 0 || services != 0 {
			t.Errorf("an object that is gone is there: %d objects for %d services", objects, services)
		}
		s.mu.Lock()
		s.enqueue(web, 0)
		s.mu.Unlock()
		quiesce()
		if !s.Present(web) {
			t.Error("nobody has written another")
		}
	})
}
