// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/lb"
)

func TestDrainMark(t *testing.T) {
	t.Parallel()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"example.org/drain": ""}},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{
			{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule},
			{Key: "example.org/maintenance", Value: "disk", Effect: corev1.TaintEffectPreferNoSchedule},
		}},
	}
	for _, tt := range []struct {
		name string
		mark lb.DrainMark
		want bool
	}{
		{"cordon alone, no mark chosen", lb.DrainMark{}, false},
		{"taint", lb.DrainMark{Taint: "example.org/maintenance"}, true},
		{"annotation", lb.DrainMark{Annotation: "example.org/drain"}, true},
		{"one of two", lb.DrainMark{Taint: "example.org/other", Annotation: "example.org/drain"}, true},
		{"cordon, chosen", lb.DrainMark{Taint: corev1.TaintNodeUnschedulable}, true},
		{"other names", lb.DrainMark{Taint: "example.org/drain", Annotation: "example.org/maintenance"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.mark.On(node); got != tt.want {
				t.Errorf("On = %t, want %t", got, tt.want)
			}
			if tt.mark.On(new(corev1.Node)) {
				t.Error("an unmarked node bears the mark")
			}
		})
	}
}
