// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/cmd/kubectl-herald/internal/manifest"
	"github.com/herald-lb/herald/internal/lb"
)

const pool = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: NAME}
spec: {addresses: [192.0.2.0/24]}
`

func named(name string) string { return strings.ReplaceAll(pool, "NAME", name) }

// write makes a folder with files in it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readString(text string) (manifest.Set, error) {
	return manifest.Read([]string{manifest.Stdin}, strings.NewReader(text), "metallb-system")
}

func TestReadKeepsKubectlsOrder(t *testing.T) {
	dir := write(t, map[string]string{
		"b.yaml": named("second") + "---\n# only words\n---\n" + named("third"), "a.yml": named("first"),
		"c.json": `{"apiVersion": "metallb.io/v1beta1", "kind": "Community", "metadata": {"name": "c"}, "spec": {"communities": []}}`,
		"README": "no manifest", "sub/d.yaml": named("deeper"),
		"../list.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: new}}\n" +
			"- {apiVersion: metallb.io/v1beta1, kind: BGPPeer, metadata: {name: old, namespace: metallb-system}, spec: {peerASN: 65001}}\n",
	})
	list := filepath.Join(dir, "..", "list.yaml")
	set, err := manifest.Read([]string{manifest.Stdin, dir, list}, strings.NewReader(named("stdin")), "metallb-system")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range set {
		got = append(got, strings.ReplaceAll(o.Where, filepath.Dir(dir), "")+": "+o.Name().String())
	}
	base := "/" + filepath.Base(dir)
	want := []string{
		"standard input, document 1: IPAddressPool metallb-system/stdin",
		base + "/a.yml, document 1: IPAddressPool metallb-system/first",
		base + "/b.yaml, document 1: IPAddressPool metallb-system/second",
		base + "/b.yaml, document 3: IPAddressPool metallb-system/third",
		base + "/c.json, document 1: Community metallb-system/c",
		"/list.yaml, document 1, item 1: BGPPeer metallb-system/new",
		"/list.yaml, document 1, item 2: BGPPeer metallb-system/old",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"unknown field":     {named("a") + "---\n" + strings.Replace(named("b"), "addresses", "addreses", 1), []string{"document 2", "IPAddressPool b", `unknown field "spec.addreses"`}},
		"deep down":         {strings.Replace(named("b"), "spec: {", "spec: {serviceAllocation: {namespace: [x]}, ", 1), []string{`unknown field "spec.serviceAllocation.namespace"`}},
		"twice in a map":    {named("a") + "spec: {}\n", []string{"document 1", "spec"}},
		"wrong type":        {strings.Replace(named("a"), "[192.0.2.0/24]", "192.0.2.0/24", 1), []string{"IPAddressPool a", "spec.addresses"}},
		"no YAML":           {"a: [", []string{"standard input, document 1", "line 1"}},
		"no object":         {"just words", []string{"document 1", "is no object"}},
		"another kind":      {"apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", []string{"Service web", "v1 Service is not part of Herald's configuration"}},
		"a status":          {"apiVersion: metallb.io/v1beta1\nkind: ServiceL2Status\nmetadata: {name: x}\n", []string{"ServiceL2Status is not part"}},
		"another version":   {strings.Replace(named("a"), "v1beta1", "v1", 1), []string{"metallb.io/v1 IPAddressPool is not part"}},
		"no kind":           {"apiVersion: metallb.io/v1beta1\nmetadata: {name: a}\n", []string{"kind is missing"}},
		"no version":        {"kind: IPAddressPool\nmetadata: {name: a}\n", []string{"apiVersion is missing"}},
		"no name":           {strings.Replace(named("a"), "name: a", "labels: {}", 1), []string{"IPAddressPool", "metadata.name is missing"}},
		"another namespace": {strings.Replace(named("a"), "name: a", "name: a, namespace: shop", 1), []string{`metadata.namespace is "shop"`, `"metallb-system"`}},
		"twice":             {named("a") + "---\n" + named("a"), []string{"document 2", "IPAddressPool metallb-system/a is in standard input, document 1 already"}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := readString(test.text)
			if err == nil {
				t.Fatalf("%v, want an error", set)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}

func TestReadOfWhatIsNotThere(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.yaml"), t.TempDir()} {
		if _, err := manifest.Read([]string{path}, nil, "x"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one that names %s", err, path)
		}
	}
}

func present() lb.Objects {
	return lb.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "metallb-system", Name: "a", UID: "1", ResourceVersion: "7", CreationTimestamp: metav1.Unix(5, 0),
				Labels: map[string]string{"set-by": "others"},
			},
			Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"198.51.100.0/24"}, AvoidBuggyIPs: true},
		}},
		Communities: []*v1beta1.Community{{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "c"}}},
	}
}

func TestApplyReplacesByName(t *testing.T) {
	set, err := readString(strings.Replace(named("a"), "name: a", "name: a, labels: {x: late}", 1) + "---\n" + named("b"))
	if err != nil {
		t.Fatal(err)
	}
	now := metav1.Unix(100, 0)
	steps := set.Apply(present(), now)
	spec := v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}}
	first := lb.Objects{Pools: []*v1beta1.IPAddressPool{{Spec: spec}}, Communities: present().Communities}
	first.Pools[0].ObjectMeta = *present().Pools[0].ObjectMeta.DeepCopy()
	first.Pools[0].Labels["x"] = "late"
	second := first
	second.Pools = append(second.Pools[:1:1], &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "b", CreationTimestamp: now}, Spec: spec,
	})
	types := cmp.Transformer("types", func(o *v1beta1.IPAddressPool) v1beta1.IPAddressPool {
		plain := *o.DeepCopy()
		plain.TypeMeta = metav1.TypeMeta{}
		return plain
	})
	if diff := cmp.Diff([]lb.Objects{first, second}, steps, types); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestPruneDeletesTheRest(t *testing.T) {
	set, err := readString(named("b"))
	if err != nil {
		t.Fatal(err)
	}
	base := set.Apply(present(), metav1.Unix(100, 0))[0]
	steps := set.Prune(base)
	if len(steps) != 2 || len(steps[0].Communities) != 0 || len(steps[0].Pools) != 2 {
		t.Fatalf("%d steps, want 2: the community, then pool a", len(steps))
	}
	if got := steps[1].Pools; len(got) != 1 || got[0].Name != "b" {
		t.Errorf("pools %v are left, want b", got)
	}
	if len(base.Pools) != 2 || len(base.Communities) != 1 {
		t.Error("the base was modified")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(named("a"))
	f.Add("kind: List\nitems: [{kind: List, items: [null]}, 1]")
	f.Add("{\"kind\": \"IPAddressPool\"}\n---\n\n--- x\n")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := readString(text)
		if err != nil {
			return
		}
		for _, o := range set {
			if o.Name().Kind == "" || o.Name().Name == "" {
				t.Errorf("an object without a kind or a name: %v", o)
			}
		}
		for _, objects := range set.Apply(lb.Objects{}, metav1.Time{}) {
			if left := (manifest.Set{}).Prune(objects); len(left) == 0 {
				t.Error("an object that was applied cannot be pruned")
			}
		}
	})
}
