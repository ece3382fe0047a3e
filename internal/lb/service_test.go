// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

var (
	equateAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	created     = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
)

// web returns a single-stack IPv4 Service, changed by change.
func web(change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", UID: "c0ffee", CreationTimestamp: metav1.NewTime(created),
			Labels: map[string]string{"tier": "front"},
		},
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeLoadBalancer,
			ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector:   map[string]string{"app": "web"},
			Ports:      []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	if change != nil {
		change(s)
	}
	return s
}

// dual makes a Service dual-stack, IPv6 first.
func dual(s *corev1.Service, policy corev1.IPFamilyPolicy) {
	s.Spec.ClusterIP, s.Spec.ClusterIPs = "fd00::7", []string{"fd00::7", "10.96.0.7"}
	s.Spec.IPFamilyPolicy = &policy
}

func annotate(s *corev1.Service, keysAndValues ...string) {
	s.Annotations = map[string]string{}
	for i := 0; i < len(keysAndValues); i += 2 {
		s.Annotations[keysAndValues[i]] = keysAndValues[i+1]
	}
}

// plainWeb is what web(nil) is parsed to.
func plainWeb() lb.Service {
	return lb.Service{
		Name: lb.ServiceName{Namespace: "shop", Name: "web"}, UID: "c0ffee", Created: created,
		Labels:   labels.Set{"tier": "front"},
		Families: []lb.Family{lb.IPv4}, FamilyPolicy: corev1.IPFamilyPolicySingleStack,
		Ports:    []lb.Port{{Protocol: corev1.ProtocolTCP, Number: 80}},
		Backends: "shop/app=web",
	}
}

func TestParseService(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*corev1.Service)
		want   func(*lb.Service)
	}{
		{"plain", nil, func(*lb.Service) {}},
		{
			"class",
			func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("example.com/lb") },
			func(s *lb.Service) { s.Class = "example.com/lb" },
		},
		{
			"opted in",
			func(s *corev1.Service) {
				annotate(s, "herald-lb.io/allow-local-sharing", "true", "herald-lb.io/dual-stack-from", "any-pools")
			},
			func(s *lb.Service) { s.LocalSharing, s.AnyPools = true, true },
		},
		{
			"opted out",
			func(s *corev1.Service) {
				annotate(s, "herald-lb.io/allow-local-sharing", "false", "herald-lb.io/dual-stack-from", "one-pool")
			},
			func(*lb.Service) {},
		},
		{
			"prefer dual-stack, IPv6 first",
			func(s *corev1.Service) { dual(s, corev1.IPFamilyPolicyPreferDualStack) },
			func(s *lb.Service) {
				s.Families, s.FamilyPolicy = []lb.Family{lb.IPv6, lb.IPv4}, corev1.IPFamilyPolicyPreferDualStack
			},
		},
		{
			"prefer dual-stack on a cluster with one family",
			func(s *corev1.Service) {
				s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack)
			},
			func(s *lb.Service) { s.FamilyPolicy = corev1.IPFamilyPolicyPreferDualStack },
		},
		{
			"only the old clusterIP field",
			func(s *corev1.Service) { s.Spec.ClusterIPs, s.Spec.ClusterIP = nil, "fd00::7" },
			func(s *lb.Service) { s.Families = []lb.Family{lb.IPv6} },
		},
		{
			"no cluster IP yet",
			func(s *corev1.Service) {
				s.Spec.ClusterIPs, s.Spec.ClusterIP = nil, ""
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
			},
			func(s *lb.Service) { s.Families = []lb.Family{lb.IPv6, lb.IPv4} },
		},
		{
			"headless",
			func(s *corev1.Service) {
				s.Spec.ClusterIPs, s.Spec.ClusterIP = []string{corev1.ClusterIPNone}, corev1.ClusterIPNone
			},
			func(*lb.Service) {},
		},
		{
			"requested address",
			func(s *corev1.Service) { annotate(s, "metallb.io/loadBalancerIPs", " 192.0.2.10 ") },
			func(s *lb.Service) { s.Requested = []netip.Addr{addr("192.0.2.10")} },
		},
		{
			"requested address by field",
			func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.10" },
			func(s *lb.Service) { s.Requested = []netip.Addr{addr("192.0.2.10")} },
		},
		{
			"an empty request is none",
			func(s *corev1.Service) {
				annotate(s, "metallb.io/loadBalancerIPs", "")
				s.Spec.LoadBalancerIP = "192.0.2.10"
			},
			func(s *lb.Service) { s.Requested = []netip.Addr{addr("192.0.2.10")} },
		},
		{
			"requested addresses of both families keep their order",
			func(s *corev1.Service) {
				dual(s, corev1.IPFamilyPolicyRequireDualStack)
				annotate(s, "metallb.io/loadBalancerIPs", "192.0.2.10, 2001:db8::10")
			},
			func(s *lb.Service) {
				s.Families, s.FamilyPolicy = []lb.Family{lb.IPv6, lb.IPv4}, corev1.IPFamilyPolicyRequireDualStack
				s.Requested = []netip.Addr{addr("192.0.2.10"), addr("2001:db8::10")}
			},
		},
		{
			"one requested address suffices where two are only preferred",
			func(s *corev1.Service) {
				dual(s, corev1.IPFamilyPolicyPreferDualStack)
				s.Spec.LoadBalancerIP = "2001:db8::10"
			},
			func(s *lb.Service) {
				s.Families, s.FamilyPolicy = []lb.Family{lb.IPv6, lb.IPv4}, corev1.IPFamilyPolicyPreferDualStack
				s.Requested = []netip.Addr{addr("2001:db8::10")}
			},
		},
		{
			"IPv4-mapped request",
			func(s *corev1.Service) { s.Spec.LoadBalancerIP = "::ffff:192.0.2.10" },
			func(s *lb.Service) { s.Requested = []netip.Addr{addr("192.0.2.10")} },
		},
		{
			"pool and sharing key",
			func(s *corev1.Service) {
				annotate(s, "metallb.io/address-pool", "gold", "metallb.io/allow-shared-ip", "dns")
			},
			func(s *lb.Service) { s.Pool, s.SharingKey = "gold", "dns" },
		},
		{
			"what the controller wrote",
			func(s *corev1.Service) {
				annotate(s, "metallb.io/ip-allocated-from-pool", "gold")
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
					{IP: "2001:db8::1"}, {Hostname: "lb.example.com"}, {IP: "192.0.2.1"}, {IP: "nonsense"}, {IP: "fe80::1%eth0"},
				}
			},
			func(s *lb.Service) {
				s.AllocatedFrom = "gold"
				s.Addresses = []netip.Addr{addr("2001:db8::1"), addr("192.0.2.1")}
			},
		},
		{
			"what an old MetalLB wrote is no fault of the user",
			func(s *corev1.Service) { annotate(s, "metallb.universe.tf/ip-allocated-from-pool", "gold") },
			func(s *lb.Service) { s.AllocatedFrom = "gold" },
		},
		{
			"ports are sorted and distinct, TCP by default",
			func(s *corev1.Service) {
				s.Spec.Ports = []corev1.ServicePort{{Protocol: "UDP", Port: 53}, {Port: 443}, {Protocol: "TCP", Port: 80}, {Protocol: "TCP", Port: 443}}
			},
			func(s *lb.Service) {
				s.Ports = []lb.Port{{Protocol: "TCP", Number: 80}, {Protocol: "TCP", Number: 443}, {Protocol: "UDP", Number: 53}}
			},
		},
		{
			"traffic policy Local",
			func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal },
			func(s *lb.Service) { s.Local = true },
		},
		{
			"the selector is in canonical form",
			func(s *corev1.Service) { s.Spec.Selector = map[string]string{"b": "2", "c": "", "a": "1"} },
			func(s *lb.Service) { s.Backends = "shop/a=1,b=2,c=" },
		},
		{
			"without a selector the endpoints are its own",
			func(s *corev1.Service) { s.Spec.Selector = nil },
			func(s *lb.Service) { s.Backends = "shop/=web" },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := plainWeb()
			tt.want(&want)
			got, problems := lb.ParseService(web(tt.change))
			if len(problems) > 0 {
				t.Errorf("problems: %v; want none", problems)
			}
			if diff := cmp.Diff(want, got, equateAddrs); diff != "" {
				t.Errorf("service (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseServiceProblems(t *testing.T) {
	t.Parallel()
	request := func(value string) func(*corev1.Service) {
		return func(s *corev1.Service) { annotate(s, "metallb.io/loadBalancerIPs", value) }
	}
	const annotation = "metadata.annotations[metallb.io/loadBalancerIPs]"
	for _, tt := range []struct {
		name           string
		change         func(*corev1.Service)
		field, message string
	}{
		{"no address", request("web.example.com"), annotation, `"web.example.com" is not an IP address`},
		{"a range", request("192.0.2.1-192.0.2.9"), annotation, "is not an IP address"},
		{"a leading zero", request("192.0.2.010"), annotation, "is not an IP address"},
		{"a comma at the end", request("192.0.2.1,"), annotation, `"" is not an IP address`},
		{"a zone", request("fe80::1%eth0"), annotation, "write the address without %eth0"},
		{"three", request("192.0.2.1,192.0.2.2,192.0.2.3"), annotation, "has 3 addresses"},
		{"two of a family", request("192.0.2.1,192.0.2.2"), annotation, "has two IPv4 addresses"},
		{"wrong family", request("2001:db8::1"), annotation, "2001:db8::1 is an IPv6 address, but the Service is IPv4 only"},
		{"one family too many", request("192.0.2.1,2001:db8::1"), annotation, "2001:db8::1 is an IPv6 address, but the Service is IPv4 only"},
		{
			"one of two required", func(s *corev1.Service) {
				request("192.0.2.1")(s)
				dual(s, corev1.IPFamilyPolicyRequireDualStack)
			},
			annotation, "only an IPv4 address is requested",
		},
		{
			"the field has room for one only", func(s *corev1.Service) {
				s.Spec.LoadBalancerIP = "192.0.2.1"
				dual(s, corev1.IPFamilyPolicyRequireDualStack)
			},
			"spec.loadBalancerIP", "with annotation metallb.io/loadBalancerIPs",
		},
		{
			"both annotation and field", func(s *corev1.Service) {
				request("192.0.2.1")(s)
				s.Spec.LoadBalancerIP = "192.0.2.1"
			},
			annotation, "remove spec.loadBalancerIP",
		},
		{"nonsense in the field", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.1,192.0.2.2" }, "spec.loadBalancerIP", "is not an IP address"},
		{"wrong family in the field", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "2001:db8::1" }, "spec.loadBalancerIP", "but the Service is IPv4 only"},
		{
			"no family", func(s *corev1.Service) {
				request("192.0.2.1")(s)
				s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies = "", nil, nil
			},
			"spec.clusterIPs", "the family is unknown",
		},
		{
			"dual-stack required on a cluster with one family", func(s *corev1.Service) {
				s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyRequireDualStack)
			},
			"spec.clusterIPs", "there is only an IPv4 cluster IP",
		},
		{
			"a choice that is none", func(s *corev1.Service) { annotate(s, "herald-lb.io/allow-local-sharing", "yes") },
			"metadata.annotations[herald-lb.io/allow-local-sharing]", `"yes" is neither "true" nor "false"`,
		},
		{
			"a choice left empty", func(s *corev1.Service) { annotate(s, "herald-lb.io/dual-stack-from", "") },
			"metadata.annotations[herald-lb.io/dual-stack-from]", `"" is neither "any-pools" nor "one-pool"`,
		},
		{"port", func(s *corev1.Service) { s.Spec.Ports[0].Port = 65536 }, "spec.ports[0].port", "65536 is not a port number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			object := web(tt.change)
			object.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.99"}}
			svc, problems := lb.ParseService(object)
			if len(problems) != 1 {
				t.Fatalf("problems: %v; want one", problems)
			}
			got := problems[0]
			want := lb.Problem{
				Object: lb.Object{Kind: "Service", Namespace: "shop", Name: "web"},
				Field:  tt.field, Reason: lb.ReasonInvalidService, Message: got.Message, Fatal: true,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
			if !strings.Contains(got.Message, tt.message) {
				t.Errorf("message %q; want %q in it", got.Message, tt.message)
			}
			if svc.Requested != nil {
				t.Errorf("requested %v; want nothing after a fatal problem", svc.Requested)
			}
			if diff := cmp.Diff([]netip.Addr{addr("192.0.2.99")}, svc.Addresses, equateAddrs); diff != "" {
				t.Errorf("the addresses it has must be kept (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoolOf(t *testing.T) {
	t.Parallel()
	both := []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}
	for _, tt := range []struct{ record, first, second string }{
		{"", "", ""},
		{"a", "a", "a"},
		{"a,b", "a", "b"},
		{"a,", "a", ""},
	} {
		s := lb.Service{Addresses: both, AllocatedFrom: tt.record}
		if first, second := s.PoolOf(both[0]), s.PoolOf(both[1]); first != tt.first || second != tt.second {
			t.Errorf("record %q: the addresses are of pools %q and %q; want %q and %q", tt.record, first, second, tt.first, tt.second)
		}
		if strange := s.PoolOf(addr("192.0.2.9")); strange != "" && tt.record != "a" {
			t.Errorf("record %q: an address that the Service has not is of pool %q", tt.record, strange)
		}
	}
}

func TestParseServiceDeprecatedAnnotations(t *testing.T) {
	t.Parallel()
	svc, problems := lb.ParseService(web(func(s *corev1.Service) {
		annotate(s,
			"metallb.universe.tf/address-pool", "old",
			"metallb.universe.tf/loadBalancerIPs", "192.0.2.1",
			"metallb.universe.tf/allow-shared-ip", "old",
			"metallb.io/allow-shared-ip", "")
	}))
	want := plainWeb()
	want.Pool, want.Requested = "old", []netip.Addr{addr("192.0.2.1")}
	if diff := cmp.Diff(want, svc, equateAddrs); diff != "" {
		t.Errorf("service; the new annotation wins also when it is empty (-want +got):\n%s", diff)
	}
	told := map[string]string{}
	for _, p := range problems {
		if p.Fatal || p.Reason != lb.ReasonDeprecated {
			t.Errorf("problem %v is fatal or of another reason", p)
		}
		told[p.Field] = p.Message
	}
	wantTold := map[string]string{
		"metadata.annotations[metallb.universe.tf/address-pool]":    "annotation metallb.universe.tf/address-pool is deprecated; use metallb.io/address-pool instead",
		"metadata.annotations[metallb.universe.tf/loadBalancerIPs]": "annotation metallb.universe.tf/loadBalancerIPs is deprecated; use metallb.io/loadBalancerIPs instead",
		"metadata.annotations[metallb.universe.tf/allow-shared-ip]": "annotation metallb.universe.tf/allow-shared-ip is deprecated; metallb.io/allow-shared-ip is used in its place; remove the deprecated one",
	}
	if diff := cmp.Diff(wantTold, told); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func FuzzParseService(f *testing.F) {
	for _, s := range []struct {
		addresses, deprecated, field, ingress string
		policy                                string
	}{
		{"192.0.2.1", "", "", "192.0.2.1", ""},
		{"192.0.2.1, 2001:db8::1", "", "", "", "RequireDualStack"},
		{"", "2001:db8::1", "", "fe80::1%eth0", "PreferDualStack"},
		{"", "", "::ffff:192.0.2.1", "::ffff:192.0.2.1", "SingleStack"},
		{",", ",,", "%", "", "Sideways"},
	} {
		f.Add(s.addresses, s.deprecated, s.field, s.ingress, s.policy)
	}
	f.Fuzz(func(t *testing.T, addresses, deprecated, field, ingress, policy string) {
		s := web(func(s *corev1.Service) { dual(s, corev1.IPFamilyPolicy(policy)) })
		annotate(s, "metallb.io/loadBalancerIPs", addresses, "metallb.universe.tf/loadBalancerIPs", deprecated)
		s.Spec.LoadBalancerIP = field
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ingress}}
		svc, problems := lb.ParseService(s)
		fatal := false
		for _, p := range problems {
			fatal = fatal || p.Fatal
			if p.Message == "" || p.Field == "" {
				t.Errorf("problem without words: %+v", p)
			}
		}
		asked := addresses != "" || field != ""
		if !fatal && asked != (len(svc.Requested) > 0) {
			t.Errorf("asked for %q and %q, got %v and no problem", addresses, field, svc.Requested)
		}
		if fatal && svc.Requested != nil || len(svc.Requested) > 2 {
			t.Errorf("requested %v with problems %v", svc.Requested, problems)
		}
		for _, a := range append(svc.Requested, svc.Addresses...) {
			if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
				t.Errorf("%v is not an address that a Service can have", a)
			}
		}
	})
}

func BenchmarkParseService(b *testing.B) {
	s := web(func(s *corev1.Service) {
		annotate(s, "metallb.io/ip-allocated-from-pool", "gold")
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	})
	b.ReportAllocs()
	for b.Loop() {
		lb.ParseService(s)
	}
}
