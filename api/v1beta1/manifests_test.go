// SPDX-License-Identifier: Apache-2.0

package v1beta1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, v1beta2.AddToScheme, v1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// A manifest that the CRDs accept has no field that the Go types lack, and comes
// back from them as it was, but for values that say nothing.
func TestManifestsSurviveGoTypes(t *testing.T) {
	scheme := newScheme(t)
	seen := make(map[string]bool)
	for _, doc := range documents(t, "../crdtest/testdata/valid", "../../config/samples") {
		var manifest map[string]any
		if err := yaml.Unmarshal(doc, &manifest); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		gvk := schema.FromAPIVersionAndKind(fmt.Sprint(manifest["apiVersion"]), fmt.Sprint(manifest["kind"]))
		if gvk.Group != v1beta1.GroupName {
			continue
		}
		seen[gvk.Version+" "+gvk.Kind] = true
		obj, err := scheme.New(gvk)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(doc, obj); err != nil {
			t.Errorf("%s: %v in:\n%s", gvk, err, doc)
			continue
		}
		if diff := cmp.Diff(normal(t, manifest), normal(t, obj.DeepCopyObject())); diff != "" {
			t.Errorf("%s changes on its way through Go (-manifest +object):\n%s", gvk, diff)
		}
	}
	if got, want := len(seen), 10; got != want {
		t.Errorf("manifests of %d versions of kinds: %v, want all %d", got, seen, want)
	}
}

func documents(t *testing.T, dirs ...string) [][]byte {
	t.Helper()
	var docs [][]byte
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no manifests in %s: %v", dir, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, bytes.Split(text, []byte("\n---\n"))...)
		}
	}
	return docs
}

// normal is the JSON of a value without what is equal to leaving it out: false, 0,
// "", and empty lists and objects. Durations of one length are one.
func normal(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var generic map[string]any
	if err := json.Unmarshal(text, &generic); err != nil {
		t.Fatal(err)
	}
	if spec, ok := generic["spec"].(map[string]any); ok {
		canonicalDurations(t, spec)
	}
	return withoutEmpty(generic)
}

// canonicalDurations writes durations as Go does, so that 90s and 1m30s are one.
func canonicalDurations(t *testing.T, spec map[string]any) {
	t.Helper()
	for _, field := range []string{"holdTime", "keepaliveTime", "connectTime"} {
		if text, ok := spec[field].(string); ok {
			d, err := time.ParseDuration(text)
			if err != nil {
				t.Errorf("%s: %v", field, err)
			}
			spec[field] = d.String()
		}
	}
}

func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		kept := make(map[string]any)
		for key, value := range v {
			if value = withoutEmpty(value); !isEmpty(value) {
				kept[key] = value
			}
		}
		return kept
	case []any:
		kept := make([]any, len(v))
		for i, value := range v {
			kept[i] = withoutEmpty(value)
		}
		return kept
	default:
		return v
	}
}

func isEmpty(v any) bool {
	if v == nil || reflect.ValueOf(v).IsZero() {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}
