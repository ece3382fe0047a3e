// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

func addresses(list ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs
}

func refusedBecause(reason lb.Reason, message string) condition {
	return condition{metav1.ConditionFalse, reason.String(), message, time.Unix(1_000_000_000, 0)}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	assigned := state{addresses: addresses("192.0.2.1"), pool: "a", condition: contented()}
	for name, tc := range map[string]struct {
		base, want state
		body       string
	}{
		"first assignment says nothing about a condition": {
			want: assigned,
			body: `{"metadata":{"uid":"u","annotations":{"metallb.io/ip-allocated-from-pool":"a"}},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`,
		},
		"two addresses": {
			want: state{addresses: addresses("192.0.2.1", "2001:db8::1"), pool: "a", condition: contented()},
			body: `{"metadata":{"uid":"u","annotations":{"metallb.io/ip-allocated-from-pool":"a"}},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"},{"ip":"2001:db8::1"}]}}}`,
		},
		"only the condition": {
			want: state{condition: refusedBecause(lb.ReasonPoolFull, `all of "a"`)},
			body: `{"metadata":{"uid":"u"},"status":{"conditions":[{"type":"metallb.io/Allocated","status":"False","reason":"PoolFull","message":"all of \"a\"","lastTransitionTime":"2001-09-09T01:46:40Z"}]}}`,
		},
		"nothing any more": {
			base: anything(),
			body: `{"metadata":{"uid":"u","annotations":{"metallb.io/ip-allocated-from-pool":null,"metallb.universe.tf/ip-allocated-from-pool":null}},` +
				`"status":{"loadBalancer":{"ingress":null},"conditions":[{"$patch":"delete","type":"metallb.io/Allocated"},{"$patch":"delete","type":"metallb.io/Announced"},` +
				`{"$patch":"delete","type":"herald-lb.io/Contested"}]}}`,
		},
		"an address that nobody announces": {
			want: state{addresses: addresses("192.0.2.1"), pool: "a", condition: contented(), announced: refusedBecause(lb.ReasonNoAdvertisement, "none")},
			body: `{"metadata":{"uid":"u","annotations":{"metallb.io/ip-allocated-from-pool":"a"}},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]},` +
				`"conditions":[{"type":"metallb.io/Announced","status":"False","reason":"NoAdvertisement","message":"none","lastTransitionTime":"2001-09-09T01:46:40Z"}]}}`,
		},
		"which somebody does now": {
			base: state{addresses: addresses("192.0.2.1"), pool: "a", announced: refusedBecause(lb.ReasonNoAdvertisement, "none")}, want: assigned,
			body: `{"metadata":{"uid":"u"},"status":{"conditions":[{"$patch":"delete","type":"metallb.io/Announced"}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.body, string(patch("u", tc.base, tc.want))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the API server has, after the patch it has what is wanted, and everything
// of others.
func TestPatchLeadsFromAnyStateToAnyOther(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		base, want := randomState(r), randomState(r)
		before := serviceIn(base)
		after := &corev1.Service{}
		original, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		svc, _ := lb.ParseService(before)
		body := patch(types.UID("u"), observe(before, &svc), want)
		patched, err := strategicpatch.StrategicMergePatch(original, body, corev1.Service{})
		if err != nil {
			t.Fatalf("patch %s: %v", body, err)
		}
		if err := json.Unmarshal(patched, after); err != nil {
			t.Fatal(err)
		}
		svc, _ = lb.ParseService(after)
		if got := observe(after, &svc); !got.satisfies(want) {
			t.Fatalf("from %+v by %s to %+v, want %+v", base, body, got, want)
		}
		theirs := func(c metav1.Condition) bool { return c.Type == "theirs" }
		if after.Annotations["theirs"] != "kept" || !slices.ContainsFunc(after.Status.Conditions, theirs) {
			t.Fatalf("patch %s destroys what is not ours: %v %v", body, after.Annotations, after.Status.Conditions)
		}
	}
}

func randomState(r *rand.Rand) state {
	messages := []string{"", `quoted "word"`, "a\nb", "Grüße", `back\slash`, "<&>"}
	s := state{condition: contented(), untidy: r.IntN(4) == 0}
	s.addresses = [][]netip.Addr{nil, addresses("192.0.2.1"), addresses("2001:db8::1", "192.0.2.9")}[r.IntN(3)]
	if len(s.addresses) > 0 {
		s.pool = []string{"a", "b-pool"}[r.IntN(2)]
	}
	switch r.IntN(3) {
	case 0:
		s.condition = condition{}
	case 1:
		s.condition = refusedBecause(lb.ReasonPoolFull, messages[r.IntN(len(messages))])
	}
	if r.IntN(3) == 0 {
		s.announced = refusedBecause(lb.ReasonNoAdvertisement, messages[r.IntN(len(messages))])
	}
	if r.IntN(3) == 0 {
		s.contested = condition{status: metav1.ConditionTrue, reason: "Contested", message: messages[r.IntN(len(messages))]}
	}
	return s
}

// serviceIn returns a Service that shows the state, among what others have written.
func serviceIn(s state) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u", Annotations: map[string]string{"theirs": "kept"}}}
	svc.Status.Conditions = []metav1.Condition{{Type: "theirs", Status: metav1.ConditionTrue}}
	for _, a := range s.addresses {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	if s.pool != "" {
		svc.Annotations[v1beta1.AnnotationAllocatedFromPool] = s.pool
	}
	if s.untidy {
		svc.Annotations[deprecatedAllocatedFrom] = "old"
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "x"})
	}
	for kind, c := range map[string]condition{ConditionAllocated: s.condition, ConditionAnnounced: s.announced, ConditionContested: s.contested} {
		if c.status != "" {
			svc.Status.Conditions = append(svc.Status.Conditions, metav1.Condition{
				Type: kind, Status: c.status, Reason: c.reason, Message: c.message, LastTransitionTime: metav1.NewTime(c.since),
			})
		}
	}
	return svc
}

func TestNews(t *testing.T) {
	t.Parallel()
	one := state{addresses: addresses("192.0.2.1"), pool: "a", condition: contented()}
	both := state{addresses: addresses("192.0.2.1", "2001:db8::1"), pool: "a", condition: contented()}
	moved := state{addresses: addresses("198.51.100.1"), pool: "b", condition: contented()}
	full := state{condition: refusedBecause(lb.ReasonPoolFull, "every address is in use in a (1 IPv4)")}
	lacking := one
	lacking.condition.message = "every address is in use in a (1 IPv6)"
	mute := one
	mute.announced = refusedBecause(lb.ReasonNoAdvertisement, "none covers it")
	for name, tc := range map[string]struct {
		change change
		want   []string
	}{
		"assigned":      {change{want: one}, []string{`Normal IPAllocated: Assigned IP ["192.0.2.1"]`}},
		"assigned both": {change{want: both}, []string{`Normal IPAllocated: Assigned IP ["192.0.2.1" "2001:db8::1"]`}},
		"additional":    {change{base: one, want: both}, []string{`Normal IPAllocated: Assigned additional IP ["2001:db8::1"]`}},
		"one of two lost": {change{base: both, want: one, cause: "no pool contains 2001:db8::1"}, []string{
			"Normal ClearAssignment: 2001:db8::1 from pool a is taken from the Service, because no pool contains 2001:db8::1; the Service now has 192.0.2.1 from pool a",
		}},
		"moved": {change{base: one, want: moved, cause: "no pool contains 192.0.2.1"}, []string{
			"Normal ClearAssignment: 192.0.2.1 from pool a is taken from the Service, because no pool contains 192.0.2.1; the Service now has 198.51.100.1 from pool b",
			`Normal IPAllocated: Assigned IP ["198.51.100.1"]`,
		}},
		"moved from two pools": {
			change{
				base:  state{addresses: both.addresses, pool: "a,b", condition: contented()},
				want:  state{addresses: addresses("192.0.2.1", "2001:db8::9"), pool: "a,c", condition: contented()},
				cause: "no pool contains 2001:db8::1",
			},
			[]string{
				"Normal ClearAssignment: 2001:db8::1 from pool b is taken from the Service, because no pool contains 2001:db8::1; " +
					"the Service now has 192.0.2.1 from pool a and 2001:db8::9 from pool c",
				`Normal IPAllocated: Assigned IP ["192.0.2.1" "2001:db8::9"]`,
			},
		},
		"lost": {change{base: one, want: full, cause: "no pool contains 192.0.2.1"}, []string{
			"Normal ClearAssignment: 192.0.2.1 from pool a is taken from the Service, because no pool contains 192.0.2.1; nothing replaces it",
			"Warning AllocationFailed: every address is in use in a (1 IPv4)",
		}},
		"refused":         {change{want: full}, []string{"Warning AllocationFailed: every address is in use in a (1 IPv4)"}},
		"refused as ever": {change{base: full, want: full}, nil},
		"rejected": {
			change{want: state{condition: refusedBecause(lb.ReasonInvalidService, "what?")}},
			[]string{"Warning LoadBalancerFailed: what?"},
		},
		"lacking": {change{want: lacking}, []string{
			`Normal IPAllocated: Assigned IP ["192.0.2.1"]`,
			"Normal AdditionalAssignFailed: every address is in use in a (1 IPv6)",
		}},
		"nobody announces it":         {change{want: mute}, []string{`Normal IPAllocated: Assigned IP ["192.0.2.1"]`, "Warning NoAdvertisement: none covers it"}},
		"somebody announces it again": {change{base: mute, want: one}, nil},
		"no longer lacking":           {change{base: lacking, want: one}, nil},
		"the pool is renamed":         {change{base: one, want: state{addresses: one.addresses, pool: "c", condition: contented()}}, nil},
		"deprecated": {change{want: one, deprecated: []string{"use another"}}, []string{
			`Normal IPAllocated: Assigned IP ["192.0.2.1"]`, "Warning deprecatedAnnotation: use another",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, e := range news(tc.change) {
				got = append(got, strings.Join([]string{e.Type, e.Reason + ":", e.Message}, " "))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
