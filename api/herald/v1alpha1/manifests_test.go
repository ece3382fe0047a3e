// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"bytes"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
)

// What the CRD accepts has no field that the Go types lack, and says the same after its
// way through Go and back.
func TestManifestsSurviveGoTypes(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"../../crdtest/testdata/valid/reservations.yaml", "../../../config/samples/addressreservation.yaml",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			obj, err := scheme.New(v1alpha1.GroupVersion.WithKind("AddressReservation"))
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(document, obj); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			once, err := yaml.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			var want, got map[string]any
			if err := yaml.Unmarshal(document, &want); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(once, &got); err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"spec", "status"} {
				before, _ := want[part].(map[string]any)
				after, _ := got[part].(map[string]any)
				if len(before) != len(after) {
					t.Errorf("%s: %s was %v, is %v", path, part, before, after)
				}
				for field := range before {
					if _, ok := after[field]; !ok {
						t.Errorf("%s: %s.%s is lost", path, part, field)
					}
				}
			}
		}
	}
}
