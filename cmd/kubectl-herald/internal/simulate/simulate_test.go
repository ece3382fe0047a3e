// SPDX-License-Identifier: Apache-2.0

package simulate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/cmd/kubectl-herald/internal/simulate"
)

// cluster is an API server that can be listed, and asked for dry runs.
type cluster struct {
	// lists are the items of each resource, as YAML's JSON subset.
	lists map[string][]string
	// refuse, if set, is the answer to every dry run.
	refuse *metav1.Status
	asked  []string
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	resource := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.Method != http.MethodGet {
		if r.URL.Query().Get("dryRun") != "All" {
			c.asked = append(c.asked, "a real "+r.Method)
		}
		c.asked = append(c.asked, r.Method+" "+resource)
		if c.refuse != nil {
			w.WriteHeader(int(c.refuse.Code))
			_ = json.NewEncoder(w).Encode(c.refuse)
			return
		}
		_, _ = io.Copy(w, r.Body)
		return
	}
	version := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
	version = strings.Join(strings.Split(version, "/")[:2], "/")
	kinds := map[string]string{
		"services": "Service", "namespaces": "Namespace", "ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement",
		"bgpadvertisements": "BGPAdvertisement", "bgppeers": "BGPPeer", "bfdprofiles": "BFDProfile", "communities": "Community",
		"addressreservations": "AddressReservation",
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		version = "v1"
	}
	fmt.Fprintf(w, `{"apiVersion": %q, "kind": "%sList", "metadata": {"resourceVersion": "9"}, "items": [%s]}`,
		version, kinds[resource], strings.Join(c.lists[resource], ","))
}

func service(name string, age int, class, address string) string {
	if class != "" {
		class = fmt.Sprintf(`"loadBalancerClass": %q, `, class)
	}
	if address != "" {
		address = fmt.Sprintf(`{"ip": %q}`, address)
	}
	return fmt.Sprintf(`{"metadata": {"namespace": "shop", "name": %q, "uid": %q, "creationTimestamp": "2026-01-01T00:00:%02dZ",
		"annotations": {"metallb.io/ip-allocated-from-pool": "a"}},
		"spec": {"type": "LoadBalancer", %s"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
		"status": {"loadBalancer": {"ingress": [%s]}}}`, name, name, age, class, address)
}

func pool(name, addresses string) string {
	return fmt.Sprintf(`{"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
		"metadata": {"name": %q, "namespace": "metallb-system"}, "spec": {"addresses": [%q]}}`, name, addresses)
}

// existing is a pool that the API server has.
func existing(name, addresses string) string {
	return strings.Replace(pool(name, addresses), `"namespace"`, `"uid": "1", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z", "namespace"`, 1)
}

func shop() *cluster {
	return &cluster{lists: map[string][]string{
		"namespaces":     {`{"metadata": {"name": "shop"}}`},
		"ipaddresspools": {existing("a", "192.0.2.1-192.0.2.3")},
		"services": {
			service("web", 1, "", "192.0.2.1"), service("api", 2, "", "192.0.2.2"), service("late", 3, "", ""),
			service("theirs", 4, "example.com/other", "192.0.2.3"),
		},
	}}
}

// run runs the verb against c with a manifest as standard input.
func run(t *testing.T, c *cluster, manifest string, flags ...string) (code int, out, complaint string) {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x"}}],
		"clusters": [{"name": "x", "cluster": {"server": %q}}]}`, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed, complained bytes.Buffer
	streams := simulate.Streams{In: strings.NewReader(manifest), Out: &printed, Err: &complained}
	code = simulate.Run(t.Context(), append([]string{"--kubeconfig", config, "-f", "-"}, flags...), streams, time.Unix(1800000000, 0))
	return code, printed.String(), complained.String()
}

func TestTable(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string
		flags    []string
		code     int
		want     string
	}{
		"widen": {
			manifest: pool("a", "192.0.2.0/24"), code: 0,
			want: `EFFECT   SERVICE     FROM   TO              WHY
gain     shop/late   -      192.0.2.0 (a)

3 Services: 2 keep, 0 wait, 1 gain, 0 move, 0 lose
`,
		},
		"nothing": {
			manifest: pool("a", "192.0.2.1-192.0.2.3"), code: 0,
			want: "3 Services: 2 keep, 1 wait, 0 gain, 0 move, 0 lose\n",
		},
		"move and conflict": {
			manifest: pool("a", "192.0.2.2-192.0.2.3") + "\n---\n" + pool("b", "192.0.2.3-192.0.2.4"), code: simulate.ExitDisrupts,
			want: `EFFECT   SERVICE    FROM            TO              WHY
move     shop/web   192.0.2.1 (a)   192.0.2.4 (b)   no pool contains 192.0.2.1

3 Services: 1 keep, 1 wait, 0 gain, 1 move, 0 lose

IPAddressPool metallb-system/b would not be accepted in full (Conflict):
  spec.addresses[0]: 192.0.2.3 is also in the older IPAddressPool "a", which keeps it; this pool goes on without; remove it from one of the two
`,
		},
		"delete": {
			flags: []string{"--prune", "--all"}, code: simulate.ExitDisrupts,
			want: `EFFECT   SERVICE     FROM            TO   WHY
lose     shop/api    192.0.2.2 (a)   -    no pool contains 192.0.2.2; there is no usable pool; create an IPAddressPool
lose     shop/web    192.0.2.1 (a)   -    no pool contains 192.0.2.1; there is no usable pool; create an IPAddressPool
wait     shop/late   -               -    there is no usable pool; create an IPAddressPool

3 Services: 0 keep, 1 wait, 0 gain, 0 move, 2 lose
`,
		},
		"another class": {
			manifest: pool("a", "192.0.2.0/30"), flags: []string{"--lb-class", "example.com/other", "--all"}, code: 0,
			want: `EFFECT   SERVICE       FROM            TO              WHY
keep     shop/theirs   192.0.2.3 (a)   192.0.2.3 (a)

1 Service: 1 keep, 0 wait, 0 gain, 0 move, 0 lose
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, complaint := run(t, shop(), test.manifest, test.flags...)
			if code != test.code {
				t.Errorf("exit status %d, want %d: %s", code, test.code, complaint)
			}
			if diff := cmp.Diff(test.want, out); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrderIsTold(t *testing.T) {
	taking, shrunk := pool("b", "192.0.2.1/32"), pool("a", "192.0.2.2-192.0.2.9")
	code, out, _ := run(t, shop(), shrunk+"\n---\n"+taking)
	for _, want := range []string{"the order matters", "All at once it would be: 3 Services: 2 keep", "move     shop/web "} {
		if code != simulate.ExitDisrupts || !strings.Contains(out, want) {
			t.Errorf("exit status %d, and no %q in:\n%s", code, want, out)
		}
	}
	if code, out, _ := run(t, shop(), taking+"\n---\n"+shrunk); code != 0 || strings.Contains(out, "order matters") {
		t.Errorf("the other way round: exit status %d:\n%s", code, out)
	}
}

func TestJSON(t *testing.T) {
	_, out, _ := run(t, shop(), pool("a", "192.0.2.2-192.0.2.4"), "-o", "json")
	var got struct {
		Summary  map[string]int
		Services []map[string]any
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	want := []map[string]any{{
		"namespace": "shop", "name": "web", "effect": "move", "reason": "Allocated", "cause": "no pool contains 192.0.2.1",
		"from": map[string]any{"addresses": []any{"192.0.2.1"}, "pool": "a"}, "to": map[string]any{"addresses": []any{"192.0.2.4"}, "pool": "a"},
	}}
	if diff := cmp.Diff(want, got.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"keep": 1, "wait": 1, "gain": 0, "move": 1, "lose": 0}, got.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestReservedAddressGoesToNobodyElse(t *testing.T) {
	c := shop()
	c.lists["addressreservations"] = []string{`{"metadata": {"namespace": "shop", "name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"},
		"spec": {"serviceName": "absent", "addresses": ["192.0.2.0"]}}`}
	if _, out, complaint := run(t, c, pool("a", "192.0.2.0/24")); !strings.Contains(out, "192.0.2.4 (a)") {
		t.Errorf("late does not get the first address that is free and not reserved: %s%s", out, complaint)
	}
}

func TestAPIServerIsAskedAndWritesNothing(t *testing.T) {
	manifest := pool("a", "192.0.2.0/24") + "\n---\n" + pool("new", "198.51.100.0/24")
	c := shop()
	if code, _, complaint := run(t, c, manifest); code != 0 {
		t.Errorf("exit status %d: %s", code, complaint)
	}
	if diff := cmp.Diff([]string{"PUT a", "POST ipaddresspools"}, c.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	status := func(code int32, reason metav1.StatusReason, message string) *metav1.Status {
		return &metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
		}
	}
	invalid := status(422, metav1.StatusReasonInvalid, "all of it is invalid")
	invalid.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: "spec.addresses[0]", Message: "must be a prefix"}}}
	for name, test := range map[string]struct {
		refuse *metav1.Status
		code   int
		words  string
	}{
		"invalid":   {invalid, 1, "standard input, document 1: the API server refuses IPAddressPool metallb-system/a: spec.addresses[0]: must be a prefix"},
		"forbidden": {status(403, metav1.StatusReasonForbidden, "you must not"), 0, "takes IPAddressPool metallb-system/a, IPAddressPool metallb-system/new was not checked: you must not"},
		"outdated":  {status(409, metav1.StatusReasonConflict, "changed"), 1, "has changed in the meantime; try again"},
	} {
		c := shop()
		c.refuse = test.refuse
		if code, out, complaint := run(t, c, manifest); code != test.code || !strings.Contains(out+complaint, test.words) {
			t.Errorf("%s: exit status %d, want %d with %q:\n%s%s", name, code, test.code, test.words, out, complaint)
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string
		flags    []string
		code     int
		words    string
	}{
		"no flag":       {"", []string{"--nonsense"}, 2, "nonsense"},
		"argument":      {"", []string{"pools.yaml"}, 2, `unexpected argument "pools.yaml"`},
		"output":        {"", []string{"-o", "yaml"}, 2, `invalid value "yaml"`},
		"no namespace":  {"", []string{"-n", ""}, 2, "namespace"},
		"no file":       {"", []string{"-f", "/nonexistent.yaml"}, 1, "/nonexistent.yaml"},
		"no context":    {"", []string{"--context", "none"}, 1, "none"},
		"useless pool":  {pool("a", "192.0.2.0/240"), nil, 1, "IPAddressPool metallb-system/a is invalid and would be left out: spec.addresses[0]"},
		"another field": {strings.Replace(pool("a", "192.0.2.0/24"), "addresses", "address", 1), nil, 1, `unknown field "spec.address"`},
	} {
		code, out, complaint := run(t, shop(), test.manifest, test.flags...)
		if code != test.code || !strings.Contains(complaint, test.words) {
			t.Errorf("%s: exit status %d, want %d, and %q does not say %q:\n%s", name, code, test.code, complaint, test.words, out)
		}
	}
	var out bytes.Buffer
	if code := simulate.Run(t.Context(), []string{"--help"}, simulate.Streams{Out: &out}, time.Time{}); code != 0 || !strings.Contains(out.String(), "--prune") {
		t.Errorf("--help: exit status %d:\n%s", code, out.String())
	}
}
