// SPDX-License-Identifier: Apache-2.0

package crdtest_test

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"

	"github.com/herald-lb/herald/api/crdtest"
)

const crdDir = "../../config/crd"

func loadCRDs(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crds, err := crdtest.LoadCRDs(crdDir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(crds), 9; got != want {
		t.Fatalf("got %d CRDs in %s, want %d", got, crdDir, want)
	}
	return crds
}

// The API server refuses a CRD above its limits. A tenth of them stays free for
// versions of the API server whose estimates are higher.
func TestCRDsWithinCostLimits(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		t.Run(crd.Name, func(t *testing.T) {
			if err := crdtest.CheckCRD(t.Context(), crd); err != nil {
				t.Error(err)
			}
			costs, err := crdtest.RuleCosts(crd)
			if err != nil {
				t.Fatal(err)
			}
			var total uint64
			for i, c := range costs {
				total += c.Cost
				if i < 3 {
					t.Logf("%9d %s: %.100s", c.Cost, c.Path, c.Rule)
				}
				if c.Cost > validation.StaticEstimatedCostLimit/10*9 {
					t.Errorf("%s: rule %q costs %d, more than nine tenths of the limit", c.Path, c.Rule, c.Cost)
				}
			}
			t.Logf("%9d total of %d rules", total, len(costs))
			if total > validation.StaticEstimatedCRDCostLimit/10*9 {
				t.Errorf("rules cost %d in total, more than nine tenths of the limit", total)
			}
		})
	}
}
