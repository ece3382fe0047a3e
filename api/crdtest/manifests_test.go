// SPDX-License-Identifier: Apache-2.0

package crdtest_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/herald-lb/herald/api/crdtest"
)

const (
	validDir   = "testdata/valid"
	updateDir  = "testdata/update"
	sampleDir  = "../../config/samples"
	invalidDir = "../../e2e/testdata/invalid"
)

func newAdmission(t *testing.T) *crdtest.Admission {
	t.Helper()
	a, err := crdtest.NewAdmission(loadCRDs(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// manifests reads the files of a directory, of which there must be at least some.
func manifests(t *testing.T, dir string, atLeast int) map[string]crdtest.Manifest {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < atLeast {
		t.Fatalf("%s has %d manifests, want at least %d", dir, len(paths), atLeast)
	}
	read := make(map[string]crdtest.Manifest, len(paths))
	for _, path := range paths {
		m, err := crdtest.ReadManifest(path)
		if err != nil {
			t.Fatal(err)
		}
		read[filepath.Base(path)] = m
	}
	return read
}

func TestAcceptsValidManifests(t *testing.T) {
	admission := newAdmission(t)
	for name, m := range manifests(t, validDir, 4) {
		for _, obj := range m.Objects {
			t.Run(fmt.Sprintf("%s/%s/%s", name, obj.GetKind(), obj.GetName()), func(t *testing.T) {
				if err := admission.Create(t.Context(), obj); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRefusesInvalidManifests(t *testing.T) {
	admission := newAdmission(t)
	for name, m := range manifests(t, invalidDir, 60) {
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			if m.Want == "" || m.Field == "" || len(m.Objects) != 1 {
				t.Fatalf("want %q, field %q, %d objects; a manifest says both and has one object", m.Want, m.Field, len(m.Objects))
			}
			wantRefusal(t, admission.Create(t.Context(), m.Objects[0]), m)
		})
	}
}

// wantRefusal checks that one of the messages names the field and says why.
func wantRefusal(t *testing.T, err error, m crdtest.Manifest) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want %s: ... %s", m.Field, m.Want)
	}
	messages := []error{err}
	if list, ok := err.(interface{ Errors() []error }); ok {
		messages = list.Errors()
	}
	for _, message := range messages {
		if strings.Contains(message.Error(), m.Field) && strings.Contains(message.Error(), m.Want) {
			t.Log(message)
			return
		}
	}
	t.Errorf("no message names %s and says %q:\n%v", m.Field, m.Want, err)
}

func TestUpdates(t *testing.T) {
	admission := newAdmission(t)
	for name, m := range manifests(t, updateDir, 5) {
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			if len(m.Objects) != 2 {
				t.Fatalf("got %d objects, want the old and the new one", len(m.Objects))
			}
			err := admission.Update(t.Context(), m.Objects[1], m.Objects[0])
			if m.Want != "accepted" {
				wantRefusal(t, err, m)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// What a client wrote in one version of BGPPeer stays valid, and the same, when it
// is read in the other.
func TestBGPPeerValidInBothVersions(t *testing.T) {
	admission := newAdmission(t)
	peers := 0
	for _, m := range manifests(t, validDir, 4) {
		for _, obj := range m.Objects {
			if obj.GetKind() != "BGPPeer" {
				continue
			}
			peers++
			for _, version := range []string{"metallb.io/v1beta1", "metallb.io/v1beta2"} {
				converted := obj.DeepCopy()
				converted.SetAPIVersion(version)
				if err := admission.Create(t.Context(), converted); err != nil {
					t.Errorf("%s as %s: %v", obj.GetName(), version, err)
				}
			}
		}
	}
	if peers == 0 {
		t.Fatal("no BGPPeer among the valid manifests")
	}
}

func TestDefaults(t *testing.T) {
	admission := newAdmission(t)
	for _, tc := range []struct {
		apiVersion, kind string
		spec, want       map[string]any
	}{
		{
			apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool",
			spec: map[string]any{"addresses": []any{"192.0.2.0/24"}},
			want: map[string]any{"autoAssign": true, "avoidBuggyIPs": false},
		},
		{
			apiVersion: "metallb.io/v1beta1", kind: "BGPAdvertisement",
			spec: map[string]any{},
			want: map[string]any{"aggregationLength": int64(32), "aggregationLengthV6": int64(128)},
		},
		{
			apiVersion: "metallb.io/v1beta2", kind: "BGPPeer",
			spec: map[string]any{"myASN": int64(64512), "peerASN": int64(64513), "peerAddress": "192.0.2.1"},
			want: map[string]any{"peerPort": int64(179), "disableMP": false, "dualStackAddressFamily": false},
		},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": tc.apiVersion, "kind": tc.kind, "spec": tc.spec}}
		if err := admission.Create(t.Context(), obj); err != nil {
			t.Errorf("%s: %v", tc.kind, err)
		}
		for field, want := range tc.want {
			if got := tc.spec[field]; got != want {
				t.Errorf("%s: default of %s is %v, want %v", tc.kind, field, got, want)
			}
		}
	}
}

// The largest objects that the schema allows must not run out of the budget that
// the API server gives to the rules of one object.
func TestLargestObjectsWithinBudget(t *testing.T) {
	admission := newAdmission(t)
	addresses := make([]any, 4096)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("100.%d.%d.100  -  100.%d.%d.200", 64+i/256, i%256, 64+i/256, i%256)
	}
	selectors := make([]any, 1024)
	for i := range selectors {
		selectors[i] = map[string]any{
			"matchLabels": map[string]any{"kubernetes.io/hostname": fmt.Sprintf("node-%d.example.com", i)},
			"matchExpressions": []any{
				map[string]any{"key": "node-role.kubernetes.io/worker", "operator": "Exists"},
				map[string]any{"key": "topology.kubernetes.io/zone", "operator": "In", "values": []any{"a", "b"}},
			},
		}
	}
	for kind, spec := range map[string]map[string]any{
		"IPAddressPool":   {"addresses": addresses, "serviceAllocation": map[string]any{"namespaceSelectors": selectors, "serviceSelectors": selectors}},
		"L2Advertisement": {"nodeSelectors": selectors, "serviceSelectors": selectors, "ipAddressPoolSelectors": selectors},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec}}
		if err := admission.Create(t.Context(), obj); err != nil {
			t.Errorf("%s: %.2000v", kind, err)
		}
	}
}
