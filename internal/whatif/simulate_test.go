// SPDX-License-Identifier: Apache-2.0

package whatif_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/whatif"
)

// pools makes one pool for each "name range[,range]", the oldest first.
func pools(texts ...string) lb.Objects {
	var o lb.Objects
	for age, text := range texts {
		name, ranges, _ := strings.Cut(text, " ")
		o.Pools = append(o.Pools, &v1beta1.IPAddressPool{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(int64(age), 0)},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: strings.Split(ranges, ",")},
		})
	}
	return o
}

// claims makes one IPv4 Service for each "name[ pool address]", the oldest first.
func claims(texts ...string) []ipam.Claim {
	var all []ipam.Claim
	for age, text := range texts {
		s := &lb.Service{
			Created: time.Unix(int64(age), 0), Families: []lb.Family{lb.IPv4}, FamilyPolicy: corev1.IPFamilyPolicySingleStack,
		}
		words := strings.Fields(text)
		s.Name = lb.ServiceName{Namespace: "shop", Name: words[0]}
		if len(words) > 1 {
			s.AllocatedFrom, s.Addresses = words[1], []netip.Addr{netip.MustParseAddr(words[2])}
		}
		all = append(all, ipam.NewClaim(s, nil, nil))
	}
	return all
}

// lines writes changes in a few words.
func lines(changes []whatif.Change) []string {
	var all []string
	for _, c := range changes {
		line := fmt.Sprintf("%s %s %v %v", c.Service.Name, c.Effect, c.From, c.To)
		if len(c.Interrupted) > 0 {
			line += fmt.Sprintf(" interrupted %v", c.Interrupted)
		}
		all = append(all, line)
	}
	return all
}

func TestEffects(t *testing.T) {
	held := claims("web a 192.0.2.1", "api a 192.0.2.2", "late")
	for name, test := range map[string]struct {
		before lb.Objects
		steps  []lb.Objects
		want   []string
		why    string // of the first line
	}{
		"nothing": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			want:   []string{"api keep [192.0.2.2] [192.0.2.2]", "late wait [] []", "web keep [192.0.2.1] [192.0.2.1]"},
		},
		"shrink": {
			before: pools("a 192.0.2.1-192.0.2.9"),
			steps:  []lb.Objects{pools("a 192.0.2.1/32,192.0.2.5-192.0.2.9")},
			want:   []string{"api move [192.0.2.2] [192.0.2.5]", "late move [192.0.2.3] [192.0.2.6]", "web keep [192.0.2.1] [192.0.2.1]"},
			why:    "no pool contains 192.0.2.2",
		},
		"widen": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{pools("a 192.0.2.0/24")},
			want:   []string{"api keep [192.0.2.2] [192.0.2.2]", "late gain [] [192.0.2.0]", "web keep [192.0.2.1] [192.0.2.1]"},
		},
		"delete": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{{}},
			want:   []string{"api lose [192.0.2.2] []", "late wait [] []", "web lose [192.0.2.1] []"},
			why:    "no pool contains 192.0.2.2; there is no usable pool",
		},
		"rename at once": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{pools("b 192.0.2.1-192.0.2.2")},
			want:   []string{"api keep [192.0.2.2] [192.0.2.2]", "late wait [] []", "web keep [192.0.2.1] [192.0.2.1]"},
		},
		"rename, the old one deleted first": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{{}, pools("b 192.0.2.1-192.0.2.2")},
			want: []string{
				"api move [192.0.2.2] [192.0.2.2] interrupted [192.0.2.2]", "late wait [] []",
				"web move [192.0.2.1] [192.0.2.1] interrupted [192.0.2.1]",
			},
			why: "no pool contains 192.0.2.2",
		},
		"rename, the new one made first": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{pools("a 192.0.2.1-192.0.2.2", "b 192.0.2.1-192.0.2.2"), pools("b 192.0.2.1-192.0.2.2")},
			want:   []string{"api keep [192.0.2.2] [192.0.2.2]", "late wait [] []", "web keep [192.0.2.1] [192.0.2.1]"},
		},
		"broken": {
			before: pools("a 192.0.2.1-192.0.2.2"),
			steps:  []lb.Objects{pools("a 192.0.2.1-192.0.2.2,nonsense")},
			want:   []string{"api keep [192.0.2.2] [192.0.2.2]", "late wait [] []", "web keep [192.0.2.1] [192.0.2.1]"},
			why:    "pool a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := whatif.Simulate(whatif.Snapshot{Objects: test.before, Claims: held}, test.steps...)
			if diff := cmp.Diff(test.want, lines(report.Changes)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if got := report.Changes[0].Why(); !strings.Contains(got, test.why) || test.why == "" && got != "" {
				t.Errorf("%s %s because %q, want %q", report.Changes[0].Service, report.Changes[0].Effect, got, test.why)
			}
		})
	}
}

// What the controller has yet to write is told apart from what the edit does.
func TestUnsettled(t *testing.T) {
	snapshot := whatif.Snapshot{Objects: pools("a 192.0.2.1-192.0.2.9"), Claims: claims("web a 203.0.113.1", "api a 192.0.2.1", "new")}
	report := whatif.Simulate(snapshot, snapshot.Objects)
	want := []string{"new gain [] [192.0.2.3]", "web move [203.0.113.1] [192.0.2.2]"}
	if diff := cmp.Diff(want, lines(report.Unsettled)); diff != "" {
		t.Errorf("unsettled (-want +got):\n%s", diff)
	}
	if got := report.Unsettled[1].Cause; got != "no pool contains 203.0.113.1" {
		t.Errorf("web moves because %q", got)
	}
	if report.Disrupts() {
		t.Errorf("an edit that changes nothing disrupts: %v", lines(report.Changes))
	}
}

func TestRejections(t *testing.T) {
	snapshot := whatif.Snapshot{Objects: pools("a 192.0.2.0/24", "old 192.0.2.7/32")}
	report := whatif.Simulate(snapshot, pools("a 192.0.2.0/24", "old 192.0.2.7/32", "late 192.0.2.0/28", "typo 192.0.2.0/240"))
	var got []string
	for _, r := range report.Rejected {
		got = append(got, fmt.Sprintf("%s %s unusable=%t already=%t", r.Object.Name, r.Reason, r.Unusable, r.Already))
		if !strings.Contains(r.Message, "spec.addresses") {
			t.Errorf("%s: the message %q names no field", r.Object, r.Message)
		}
	}
	want := []string{
		"late Conflict unusable=false already=false", "old Conflict unusable=false already=true", "typo Invalid unusable=true already=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

// To apply what there is changes nothing, and to ask leaves no trace.
func TestSimulatingThePresentKeepsAll(t *testing.T) {
	for seed := range uint64(500) {
		snapshot := settled(rand.New(rand.NewPCG(seed, 11)))
		report := whatif.Simulate(snapshot, snapshot.Objects, relabelled(snapshot.Objects))
		if len(report.Unsettled) > 0 {
			t.Fatalf("seed %d: unsettled: %v", seed, lines(report.Unsettled))
		}
		for _, c := range report.Changes {
			if c.Effect != whatif.Keep && c.Effect != whatif.Wait {
				t.Fatalf("seed %d: %v", seed, lines([]whatif.Change{c}))
			}
		}
		if diff := cmp.Diff(report, whatif.Simulate(snapshot), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatalf("seed %d: applied again, and not at all (-again +not):\n%s", seed, diff)
		}
	}
}

// relabelled returns pools that are not the same and give the same.
func relabelled(objects lb.Objects) lb.Objects {
	var after lb.Objects
	for _, p := range objects.Pools {
		p = p.DeepCopy()
		p.Labels = map[string]string{"looked-at": "again"}
		after.Pools = append(after.Pools, p)
	}
	return after
}

// settled returns random pools, and Services with what they get from them.
func settled(chance *rand.Rand) whatif.Snapshot {
	var texts, services []string
	for _, name := range []string{"a", "b", "c"}[:1+chance.IntN(3)] {
		first := chance.IntN(20)
		texts = append(texts, fmt.Sprintf("%s 192.0.2.%d-192.0.2.%d", name, first, first+chance.IntN(6)))
	}
	for i := range chance.IntN(16) {
		services = append(services, fmt.Sprint("s", i))
	}
	snapshot := whatif.Snapshot{Objects: pools(texts...), Claims: claims(services...)}
	byName := map[lb.ServiceName]*lb.Service{}
	for _, c := range snapshot.Claims {
		byName[c.Service.Name] = c.Service
		c.Service.Ports = []lb.Port{{Protocol: corev1.ProtocolTCP, Number: uint16(1 + chance.IntN(3))}}
		switch chance.IntN(4) {
		case 0:
			c.Service.SharingKey = "x"
		case 1:
			c.Service.Requested = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(chance.IntN(26))})}
		}
	}
	for _, c := range whatif.Simulate(snapshot).Changes {
		byName[c.Service].Addresses, byName[c.Service].AllocatedFrom = c.To, c.ToPool
	}
	return snapshot
}
