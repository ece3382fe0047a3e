// SPDX-License-Identifier: Apache-2.0

package crdtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/herald-lb/herald/api/crdtest"
)

const crdDir = "../../config/crd"

// kinds are the resources with their groups; one CRD file each.
var kinds = []string{
	"addressreservations.herald-lb.io",
	"bfdprofiles.metallb.io", "bgpadvertisements.metallb.io", "bgppeers.metallb.io",
	"communities.metallb.io", "configurationstates.metallb.io", "ipaddresspools.metallb.io",
	"l2advertisements.metallb.io", "servicebgpstatuses.metallb.io", "servicel2statuses.metallb.io",
}

func loadCRDs(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crds, err := crdtest.LoadCRDs(crdDir)
	if err != nil {
		t.Fatal(err)
	}
	return crds
}

// The API server must take every CRD: schemas structural, defaults valid, rules
// that compile, and none above the limits of the cost estimator.
func TestAPIServerTakesCRDs(t *testing.T) {
	var names []string
	for _, crd := range loadCRDs(t) {
		names = append(names, crd.Name)
		if err := crdtest.CheckCRD(t.Context(), crd); err != nil {
			t.Errorf("%s: %v", crd.Name, err)
		}
	}
	if diff := cmp.Diff(kinds, names); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

// The two versions of BGPPeer are converted by changing apiVersion alone. That
// loses nothing if, and only if, their schemas are the same.
func TestBGPPeerVersionsHaveOneSchema(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		if crd.Spec.Names.Kind != "BGPPeer" {
			continue
		}
		if c := crd.Spec.Conversion; c != nil && c.Strategy != apiextensionsv1.NoneConverter {
			t.Errorf("conversion strategy is %s, want None", c.Strategy)
		}
		if got := len(crd.Spec.Versions); got != 2 {
			t.Fatalf("got %d versions, want v1beta1 and v1beta2", got)
		}
		old, current := crd.Spec.Versions[0], crd.Spec.Versions[1]
		if old.Name != "v1beta1" || !old.Served || old.Storage || !old.Deprecated {
			t.Errorf("%s: served %t, storage %t, deprecated %t; want v1beta1, served and deprecated", old.Name, old.Served, old.Storage, old.Deprecated)
		}
		if current.Name != "v1beta2" || !current.Served || !current.Storage || current.Deprecated {
			t.Errorf("%s: served %t, storage %t, deprecated %t; want v1beta2, served and stored", current.Name, current.Served, current.Storage, current.Deprecated)
		}
		for _, part := range []string{"spec", "status"} {
			a, b := old.Schema.OpenAPIV3Schema.Properties[part], current.Schema.OpenAPIV3Schema.Properties[part]
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s of v1beta1 and v1beta2 differ:\n%s", part, diff)
			}
		}
		return
	}
	t.Fatal("no CRD for BGPPeer")
}

// A CRD that is not listed is not installed.
func TestKustomizationListsEveryCRD(t *testing.T) {
	text, err := os.ReadFile(crdDir + "/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		plural, group, _ := strings.Cut(kind, ".")
		if file := group + "_" + plural + ".yaml"; !strings.Contains(string(text), "- "+file+"\n") {
			t.Errorf("kustomization.yaml does not list %s", file)
		}
	}
}

// Every field that users set has a documented meaning; those that may be left out
// say what happens then.
func TestFieldsSayTheirDefault(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		for _, v := range crd.Spec.Versions {
			spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
			checkDocumented(t, crd.Spec.Names.Kind+"."+v.Name+".spec", &spec)
		}
	}
}

func checkDocumented(t *testing.T, path string, s *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	required := make(map[string]bool)
	for _, name := range s.Required {
		required[name] = true
	}
	for name, field := range s.Properties {
		at := path + "." + name
		if field.Description == "" {
			t.Errorf("%s has no description", at)
		}
		if !required[name] && !strings.Contains(field.Description, "Default: ") {
			t.Errorf("%s is optional, but its description does not say its default", at)
		}
		checkDocumented(t, at, &field)
		if field.Items != nil {
			checkDocumented(t, at, field.Items.Schema)
		}
	}
}
