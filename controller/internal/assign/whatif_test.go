// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/whatif"
)

// What a simulation says of an edit is what a controller then does, whatever the pools
// and the Services are, and however they came to be so.
func TestSimulationIsWhatHappens(t *testing.T) {
	effects := map[whatif.Effect]int{}
	for seed := range uint64(300) {
		chance := rand.New(rand.NewPCG(seed, 7))
		story(t, nil, func(s *stage) {
			s.replacePools(randomPools(chance))
			s.start()
			for range 3 {
				s.churn(chance)
				s.settle()
			}
			steps := make([][]*v1beta1.IPAddressPool, 1+chance.IntN(2))
			for i := range steps {
				steps[i] = edited(chance, s.pools)
			}
			before := s.standing()
			report := s.simulate(steps...)
			if len(report.Unsettled) > 0 {
				t.Errorf("seed %d: unsettled: %v", seed, report.Unsettled)
			}
			if diff := cmp.Diff(before, foretold(report, false)); diff != "" {
				t.Errorf("seed %d: what there is (-actual +simulated):\n%s", seed, diff)
			}
			for _, pools := range steps {
				s.replacePools(pools)
				s.settle()
			}
			if diff := cmp.Diff(s.standing(), foretold(report, true)); diff != "" {
				t.Errorf("seed %d: after the edit (-actual +simulated):\n%s", seed, diff)
			}
			for effect, n := range report.Count() {
				effects[effect] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("effects: %v", effects)
	for _, effect := range whatif.Effects() {
		if effects[effect] == 0 {
			t.Errorf("no edit made a Service %s: the edits are not varied enough", effect)
		}
	}
}

// standing is what the API server says of a Service.
type standing struct{ addresses, pool, reason, message string }

// String is what cmp shows.
func (s standing) String() string {
	return fmt.Sprintf("%s (%s) %s %s", s.addresses, s.pool, s.reason, s.message)
}

// Equal compares all that is known of both: of what there is before an edit, a report
// tells addresses and pools only.
func (s standing) Equal(o standing) bool {
	same := s.addresses == o.addresses && s.pool == o.pool
	return same && (s.reason == "" || o.reason == "" || s.reason == o.reason && s.message == o.message)
}

func (c *cluster) standing() map[string]standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]standing{}
	for name, s := range c.services {
		if s.Spec.LoadBalancerClass != nil {
			continue
		}
		svc, _ := lb.ParseService(s)
		have := observe(s, &svc)
		if (have.condition == condition{}) {
			have.condition = contented()
		}
		all[name.String()] = standing{join(have.addresses), have.pool, have.condition.reason, have.condition.message}
	}
	return all
}

func foretold(r whatif.Report, after bool) map[string]standing {
	all := map[string]standing{}
	for _, c := range r.Changes {
		st := standing{addresses: join(c.From), pool: c.FromPool}
		if after {
			st = standing{join(c.To), c.ToPool, c.Reason.String(), c.Message}
		}
		all[c.Service.String()] = st
	}
	return all
}

func (c *cluster) simulate(steps ...[]*v1beta1.IPAddressPool) whatif.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	snapshot := whatif.Snapshot{Objects: lb.Objects{Pools: c.pools}, At: time.Now()}
	for _, s := range c.services {
		svc, problems := lb.ParseService(s)
		claim := ipam.NewClaim(&svc, problems, c.namespaces[s.Namespace])
		claim.Foreign = svc.Class != ""
		snapshot.Claims = append(snapshot.Claims, claim)
	}
	for _, o := range c.reserve.stored {
		r, _ := lb.ParseReservation(o)
		snapshot.Reservations = append(snapshot.Reservations, ipam.Reservation{Reservation: &r, NamespaceLabels: c.namespaces[o.Namespace]})
	}
	var configurations []lb.Objects
	for _, pools := range steps {
		configurations = append(configurations, lb.Objects{Pools: pools})
	}
	return whatif.Simulate(snapshot, configurations...)
}

func (c *cluster) replacePools(pools []*v1beta1.IPAddressPool) {
	c.mu.Lock()
	c.pools = pools
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		tell(key{})
	}
}

// churn creates, changes and removes a few Services.
func (s *stage) churn(chance *rand.Rand) {
	for range 2 + chance.IntN(8) {
		name := fmt.Sprint("s", chance.IntN(24))
		full := lb.ServiceName{Namespace: "shop", Name: name}
		s.mu.Lock()
		_, exists := s.services[full]
		s.mu.Unlock()
		switch {
		case !exists:
			s.create(name, randomService(chance))
		case chance.IntN(3) == 0:
			s.remove(full)
		default:
			s.edit(full, randomService(chance))
		}
	}
	for range chance.IntN(3) {
		reserved := lb.ReservationName{Namespace: "shop", Name: fmt.Sprint("r", chance.IntN(6))}
		s.mu.Lock()
		_, exists := s.reserve.stored[reserved]
		s.mu.Unlock()
		if exists {
			s.unreserve(reserved)
			continue
		}
		s.reservation(reserved.Name, func(o *v1alpha1.AddressReservation) {
			o.Spec.ServiceName = fmt.Sprint("s", chance.IntN(24))
			o.Spec.Addresses = []string{fmt.Sprintf("192.0.2.%d", chance.IntN(32))}
			if chance.IntN(2) == 0 {
				o.Spec.TTL = &metav1.Duration{Duration: 8 * time.Second} // longer than it takes to settle once
			}
		})
	}
	if chance.IntN(4) == 0 {
		s.label("shop", labels.Set{"tier": oneOf(chance, "gold", "tin")})
	}
}

// randomService returns an edit that makes a Service ask for something.
func randomService(chance *rand.Rand) func(*corev1.Service) {
	return func(s *corev1.Service) {
		delete(s.Annotations, v1beta1.AnnotationAddressPool)
		delete(s.Annotations, v1beta1.AnnotationAllowSharedIP)
		delete(s.Annotations, v1beta1.AnnotationLoadBalancerIPs)
		s.Labels = map[string]string{"app": oneOf(chance, "a", "b")}
		s.Spec.Ports = []corev1.ServicePort{{Port: 80 + int32(chance.IntN(3)), Protocol: corev1.ProtocolTCP}}
		policy := corev1.IPFamilyPolicy(oneOf(chance, "SingleStack", "SingleStack", "PreferDualStack", "RequireDualStack"))
		s.Spec.IPFamilyPolicy = &policy
		s.Spec.ClusterIPs = []string{"10.96.0.1", "fd00::1"}
		if policy == corev1.IPFamilyPolicySingleStack {
			s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
		}
		if chance.IntN(10) == 0 {
			other := "example.com/other"
			s.Spec.LoadBalancerClass = &other
		}
		switch chance.IntN(8) {
		case 0:
			annotate(v1beta1.AnnotationAddressPool, poolNames[chance.IntN(len(poolNames))])(s)
		case 1, 2:
			annotate(v1beta1.AnnotationAllowSharedIP, oneOf(chance, "x", "y"))(s)
		case 3:
			annotate(v1beta1.AnnotationLoadBalancerIPs, fmt.Sprintf("192.0.2.%d", chance.IntN(30)))(s)
		case 4:
			annotate(v1beta1.AnnotationLoadBalancerIPs, oneOf(chance, "nonsense", "2001:db8::3"))(s)
		}
	}
}

var poolNames = []string{"a", "b", "c", "d"}

func oneOf(chance *rand.Rand, words ...string) string { return words[chance.IntN(len(words))] }

func randomPools(chance *rand.Rand) []*v1beta1.IPAddressPool {
	var pools []*v1beta1.IPAddressPool
	for age, name := range poolNames {
		if chance.IntN(3) > 0 {
			pools = append(pools, randomPool(chance, name, int64(age)))
		}
	}
	return pools
}

func randomPool(chance *rand.Rand, name string, created int64) *v1beta1.IPAddressPool {
	auto := chance.IntN(6) > 0
	p := &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "metallb-system", Name: name, UID: types.UID(name), CreationTimestamp: metav1.Unix(created, 0),
		},
		Spec: v1beta1.IPAddressPoolSpec{AutoAssign: &auto, AvoidBuggyIPs: chance.IntN(4) == 0},
	}
	for range 1 + chance.IntN(3) {
		first, size := chance.IntN(28), chance.IntN(6)
		prefix := oneOf(chance, "192.0.2.%d", "192.0.2.%d", "2001:db8::%x")
		p.Spec.Addresses = append(p.Spec.Addresses, strings.Join([]string{
			fmt.Sprintf(prefix, first), fmt.Sprintf(prefix, first+size),
		}, "-"))
	}
	switch chance.IntN(10) {
	case 0:
		p.Spec.ServiceAllocation = &v1beta1.ServiceAllocation{
			Priority:         chance.IntN(3),
			ServiceSelectors: []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"app": "a"}}},
		}
	case 1:
		p.Spec.ServiceAllocation = &v1beta1.ServiceAllocation{
			NamespaceSelectors: []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"tier": "gold"}}},
		}
	case 2:
		p.Spec.Addresses = append(p.Spec.Addresses, "192.0.2.0/240") // broken
	}
	return p
}

// edited returns the pools with one of them changed, removed or added.
func edited(chance *rand.Rand, pools []*v1beta1.IPAddressPool) []*v1beta1.IPAddressPool {
	name := poolNames[chance.IntN(len(poolNames))]
	var after []*v1beta1.IPAddressPool
	created := int64(100)
	for _, p := range pools {
		if p.Name == name {
			created = p.CreationTimestamp.Unix()
			continue
		}
		after = append(after, p)
	}
	if chance.IntN(4) > 0 {
		after = append(after, randomPool(chance, name, created))
	}
	return after
}
