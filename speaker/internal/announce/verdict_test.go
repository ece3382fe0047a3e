// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// verdicts are what a Verdict was last told.
type verdicts struct{ objects []string }

func (v *verdicts) Report(problems []lb.Problem) {
	v.objects = nil
	for _, p := range problems {
		v.objects = append(v.objects, p.Object.Name)
	}
	slices.Sort(v.objects)
	v.objects = slices.Compact(v.objects)
}

// What is wrong with a peer for other nodes is their business; what peers do to each
// other here is ours.
func TestVerdictOfANode(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		told := new(verdicts)
		s.Verdict = told
		expect := func(want ...string) {
			t.Helper()
			s.quiesce()
			if diff := cmp.Diff(strings.Join(want, " "), strings.Join(told.objects, " ")); diff != "" {
				t.Errorf("objects with problems (-want +got):\n%s", diff)
			}
		}
		elsewhere, broken, twin := peer("elsewhere", "10.9.0.3"), peer("broken", "10.9.0.4"), peer("twin", "10.9.0.1")
		elsewhere.Spec.MyASN, broken.Spec.MyASN = 0, 0
		elsewhere.Spec.NodeSelectors = []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"rack": "2"}}}
		s.inventory.OnBGPPeer(nil, elsewhere)
		expect()
		s.inventory.OnBGPPeer(nil, broken)
		expect("broken")
		s.inventory.OnBGPPeer(nil, twin)
		expect("broken", "twin")
		s.inventory.OnBGPPeer(broken, nil)
		s.inventory.OnBGPPeer(twin, nil)
		expect()
		labelled := node("a")
		labelled.Labels = map[string]string{"rack": "2"}
		s.inventory.OnNode(node("a"), labelled)
		expect("elsewhere")
	})
}
