// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/internal/lb"
)

var update = flag.Bool("update", false, "write what ParseConfig returns to testdata/*/out.yaml")

// TestParseConfigGolden reads testdata/<case>/in.yaml, manifests as users write them
// with a creation time where it matters, and compares what ParseConfig makes of them
// with out.yaml. After an intended change run it with -update and read the difference.
func TestParseConfigGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata (%v)", err)
	}
	for _, in := range cases {
		t.Run(filepath.Base(filepath.Dir(in)), func(t *testing.T) {
			t.Parallel()
			manifests, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := decode(string(manifests))
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(render(lb.ParseConfig(objects)))
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(filepath.Dir(in), "out.yaml")
			if *update {
				if err := os.WriteFile(out, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("parsed configuration (-want +got):\n%s", diff)
			}
		})
	}
}

// decode reads a YAML stream of manifests. A field that does not exist is an error.
func decode(manifests string) (lb.Objects, error) {
	var objects lb.Objects
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return lb.Objects{}, fmt.Errorf("read the kind: %w", err)
		}
		var err error
		switch kind.Kind {
		case "IPAddressPool":
			err = add(&objects.Pools, document)
		case "L2Advertisement":
			err = add(&objects.L2Advertisements, document)
		case "BGPAdvertisement":
			err = add(&objects.BGPAdvertisements, document)
		case "BGPPeer":
			err = add(&objects.BGPPeers, document)
		case "BFDProfile":
			err = add(&objects.BFDProfiles, document)
		case "Community":
			err = add(&objects.Communities, document)
		case "Secret":
			var secrets []*corev1.Secret
			err = add(&secrets, document)
			if objects.Secrets == nil {
				objects.Secrets = make(map[string]*corev1.Secret)
			}
			for _, s := range secrets {
				objects.Secrets[s.Name] = s
			}
		case "": // Only comments.
		default:
			err = fmt.Errorf("kind %q is none of the configuration", kind.Kind)
		}
		if err != nil {
			return lb.Objects{}, err
		}
	}
	return objects, nil
}

func add[T any](list *[]*T, document string) error {
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		return fmt.Errorf("read a %T: %w", object, err)
	}
	*list = append(*list, object)
	return nil
}

// The golden files show a configuration in these types: all of it, in words.
type (
	view struct {
		Pools             []poolView    `json:"pools,omitempty"`
		L2Advertisements  []l2View      `json:"l2Advertisements,omitempty"`
		Peers             []peerView    `json:"peers,omitempty"`
		BGPAdvertisements []bgpView     `json:"bgpAdvertisements,omitempty"`
		Problems          []problemView `json:"problems,omitempty"`
	}
	poolView struct {
		Name          string          `json:"name"`
		Created       string          `json:"created,omitempty"`
		Labels        string          `json:"labels,omitempty"`
		Ranges        []string        `json:"ranges"`
		AutoAssign    bool            `json:"autoAssign"`
		AvoidBuggyIPs bool            `json:"avoidBuggyIPs,omitempty"`
		Broken        bool            `json:"broken,omitempty"`
		Allocation    *allocationView `json:"allocation,omitempty"`
	}
	allocationView struct {
		Priority           int      `json:"priority"`
		Namespaces         []string `json:"namespaces,omitempty"`
		NamespaceSelectors []string `json:"namespaceSelectors,omitempty"`
		ServiceSelectors   []string `json:"serviceSelectors,omitempty"`
	}
	l2View struct {
		Name             string   `json:"name"`
		Pools            []string `json:"pools"`
		NodeSelectors    []string `json:"nodeSelectors,omitempty"`
		PreferredNodes   []string `json:"preferredNodes,omitempty"`
		Interfaces       []string `json:"interfaces,omitempty"`
		ServiceSelectors []string `json:"serviceSelectors,omitempty"`
	}
	problemView struct {
		Object  string `json:"object"`
		Field   string `json:"field"`
		Reason  string `json:"reason"`
		Fatal   bool   `json:"fatal"`
		Message string `json:"message"`
	}
)

func render(config lb.Config, problems []lb.Problem) view {
	var v view
	for _, p := range config.Pools {
		v.Pools = append(v.Pools, renderPool(p))
	}
	for _, ad := range config.L2Advertisements {
		preferred := make([]string, 0, len(ad.PreferredNodes))
		for _, p := range ad.PreferredNodes {
			preferred = append(preferred, fmt.Sprintf("%d: %s", p.Weight, words(p.Preference)))
		}
		pools := slices.AppendSeq([]string{}, maps.Keys(ad.Pools))
		slices.Sort(pools)
		v.L2Advertisements = append(v.L2Advertisements, l2View{
			Name: ad.Name, Pools: pools, NodeSelectors: allWords(ad.NodeSelectors),
			PreferredNodes: preferred, Interfaces: ad.Interfaces, ServiceSelectors: allWords(ad.ServiceSelectors),
		})
	}
	v.Peers, v.BGPAdvertisements = renderBGP(config)
	for _, p := range problems {
		v.Problems = append(v.Problems, problemView{p.Object.String(), p.Field, p.Reason.String(), p.Fatal, p.Message})
	}
	return v
}

func renderPool(p lb.Pool) poolView {
	v := poolView{
		Name: p.Name, Labels: p.Labels.String(), Ranges: []string{},
		AutoAssign: p.AutoAssign, AvoidBuggyIPs: p.AvoidBuggyIPs, Broken: p.Broken,
	}
	if !p.Created.IsZero() {
		v.Created = p.Created.UTC().Format("2006-01-02T15:04:05Z")
	}
	for _, r := range p.Ranges {
		v.Ranges = append(v.Ranges, r.String())
	}
	if a := p.Allocation; a != nil {
		v.Allocation = &allocationView{a.Priority, a.Namespaces, allWords(a.NamespaceSelectors), allWords(a.ServiceSelectors)}
	}
	return v
}

func words(s labels.Selector) string {
	if s.Empty() {
		return "everything"
	}
	return s.String()
}

func allWords(selectors []labels.Selector) []string {
	var all []string
	for _, s := range selectors {
		all = append(all, words(s))
	}
	return all
}
