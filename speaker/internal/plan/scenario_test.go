// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

var update = flag.Bool("update", false, "rewrite testdata/*.out.yaml")

// scenario is the form of testdata/*.in.yaml: a whole cluster in a few lines.
type scenario struct {
	Pools []struct {
		Name      string   `json:"name"`
		Addresses []string `json:"addresses"` // first-last
		Broken    bool     `json:"broken"`
	} `json:"pools"`
	Advertisements []struct {
		Name       string           `json:"name"`
		Pools      []string         `json:"pools"` // empty: all
		Nodes      []string         `json:"nodes"` // selectors, as kubectl -l takes them
		Services   []string         `json:"services"`
		Interfaces []string         `json:"interfaces"`
		Preferred  map[string]int32 `json:"preferred"` // selector: weight
	} `json:"advertisements"`
	Nodes []struct {
		Name               string            `json:"name"`
		Labels             map[string]string `json:"labels"`
		Dead               bool              `json:"dead"`
		NetworkUnavailable bool              `json:"networkUnavailable"`
		Excluded           bool              `json:"excluded"`
		Draining           bool              `json:"draining"`
		Interfaces         []string          `json:"interfaces"` // empty: not known
		Subnets            []string          `json:"subnets"`
	} `json:"nodes"`
	// Strangers are members that are no Nodes.
	Strangers          []string          `json:"strangers"`
	NoGossip           bool              `json:"noGossip"`
	IgnoreExcludeLabel bool              `json:"ignoreExcludeLabel"`
	Services           []scenarioService `json:"services"`
}

type scenarioService struct {
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
	Age           int               `json:"age"` // seconds
	Addresses     []string          `json:"addresses"`
	AllocatedFrom string            `json:"allocatedFrom"`
	Local         bool              `json:"local"`
	Endpoints     []string          `json:"endpoints"` // nodes; "?" is an endpoint on no node
}

// outcome is the form of testdata/*.out.yaml. The reason is the owner's view of it.
type outcome struct {
	Address    string   `json:"address"`
	Owner      string   `json:"owner,omitempty"`
	Announced  bool     `json:"announced"`
	Interfaces []string `json:"interfaces,omitempty"`
	// Services are "name: Reason".
	Services []string `json:"services"`
}

func TestScenarios(t *testing.T) {
	ins, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(ins) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, in := range ins {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.yaml"), func(t *testing.T) {
			b, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			var s scenario
			if err := yaml.UnmarshalStrict(b, &s); err != nil {
				t.Fatalf("%s: %v", in, err)
			}
			got, err := yaml.Marshal(s.outcomes(t))
			if err != nil {
				t.Fatal(err)
			}
			compareWithGolden(t, strings.Replace(in, ".in.", ".out.", 1), got)
		})
	}
}

func compareWithGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), run with -update if it is right:\n%s", path, diff)
	}
}

// outcomes decides every address on every node and merges what the nodes found.
func (s *scenario) outcomes(t *testing.T) []outcome {
	t.Helper()
	views := make(map[lb.NodeName]*plan.View)
	for _, n := range s.Nodes {
		views[lb.NodeName(n.Name)] = plan.NewView(s.input(lb.NodeName(n.Name)))
	}
	sharers := s.sharers()
	addresses := slices.SortedFunc(maps.Keys(sharers), netip.Addr.Compare)
	var outcomes []outcome
	for _, a := range addresses {
		outcomes = append(outcomes, merge(t, a, views, sharers[a]))
	}
	return outcomes
}

// merge returns the owner's verdict, having checked that the others agree with it.
func merge(t *testing.T, a netip.Addr, views map[lb.NodeName]*plan.View, sharers []plan.Sharer) outcome {
	t.Helper()
	var owner lb.NodeName
	for _, v := range views {
		owner = v.Decide(a, sharers).Owner
		break
	}
	o := outcome{Address: a.String(), Owner: string(owner)}
	for self, v := range views {
		verdict := v.Decide(a, sharers)
		if verdict.Owner != owner {
			t.Errorf("%s: %s says that %q owns it, another says %q", a, self, verdict.Owner, owner)
		}
		if verdict.Announce && self != owner {
			t.Errorf("%s: %s announces what %q owns", a, self, owner)
		}
		if self != owner && owner != "" {
			continue
		}
		o.Announced, o.Interfaces, o.Services = verdict.Announce, verdict.Interfaces, nil
		for _, d := range verdict.Decisions {
			o.Services = append(o.Services, fmt.Sprintf("%s: %s", d.Service.Name, d.Reason))
		}
	}
	return o
}

func (s *scenario) input(self lb.NodeName) plan.Input {
	in := plan.Input{Self: self, Config: s.config(), IgnoreExcludeLabel: s.IgnoreExcludeLabel}
	if !s.NoGossip {
		in.Members = make(map[lb.NodeName]struct{})
		for _, name := range s.Strangers {
			in.Members[lb.NodeName(name)] = struct{}{}
		}
	}
	for _, n := range s.Nodes {
		name := lb.NodeName(n.Name)
		in.Nodes = append(in.Nodes, lb.Node{
			Name: name, Labels: n.Labels, NetworkUnavailable: n.NetworkUnavailable, Excluded: n.Excluded, Draining: n.Draining,
		})
		if !n.Dead && in.Members != nil {
			in.Members[name] = struct{}{}
		}
		for _, p := range n.Subnets {
			if in.Subnets == nil {
				in.Subnets = make(map[lb.NodeName][]netip.Prefix)
			}
			in.Subnets[name] = append(in.Subnets[name], netip.MustParsePrefix(p))
		}
		if name == self && n.Interfaces != nil {
			in.Interfaces = setOf(n.Interfaces)
		}
	}
	return in
}

func (s *scenario) config() *lb.Config {
	c := new(lb.Config)
	all := make(map[string]struct{})
	for _, p := range s.Pools {
		pool := lb.Pool{Name: p.Name, Broken: p.Broken, AutoAssign: true}
		for _, r := range p.Addresses {
			pool.Ranges = append(pool.Ranges, mustRange(r))
		}
		c.Pools = append(c.Pools, pool)
		all[p.Name] = struct{}{}
	}
	for _, a := range s.Advertisements {
		ad := lb.L2Advertisement{
			Name: a.Name, Pools: setOf(a.Pools), Interfaces: a.Interfaces,
			NodeSelectors: selectors(a.Nodes), ServiceSelectors: selectors(a.Services),
		}
		if len(a.Pools) == 0 {
			ad.Pools = all
		}
		for s, w := range a.Preferred {
			ad.PreferredNodes = append(ad.PreferredNodes, lb.PreferredNode{Weight: w, Preference: selector(s)})
		}
		c.L2Advertisements = append(c.L2Advertisements, ad)
	}
	return c
}

func (s *scenario) sharers() map[netip.Addr][]plan.Sharer {
	sharers := make(map[netip.Addr][]plan.Sharer)
	for _, svc := range s.Services {
		service := &lb.Service{
			Name:   lb.ServiceName{Namespace: "default", Name: svc.Name},
			Labels: svc.Labels, Local: svc.Local, AllocatedFrom: svc.AllocatedFrom,
			Created: time.Unix(1_000_000-int64(svc.Age), 0),
		}
		endpoints := lb.Endpoints{Nodes: make(map[lb.NodeName]struct{})}
		for _, n := range svc.Endpoints {
			if n == "?" {
				endpoints.Elsewhere = true
				continue
			}
			endpoints.Nodes[lb.NodeName(n)] = struct{}{}
		}
		for _, a := range svc.Addresses {
			service.Addresses = append(service.Addresses, netip.MustParseAddr(a))
		}
		for _, a := range service.Addresses {
			sharers[a] = append(sharers[a], plan.Sharer{Service: service, Endpoints: endpoints})
		}
	}
	return sharers
}

func mustRange(s string) lb.Range {
	first, last, _ := strings.Cut(s, "-")
	r, ok := lb.MakeRange(netip.MustParseAddr(first), netip.MustParseAddr(last))
	if !ok {
		panic("bad range " + s)
	}
	return r
}

func selector(s string) labels.Selector {
	sel, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return sel
}

func selectors(ss []string) []labels.Selector {
	var sels []labels.Selector
	for _, s := range ss {
		sels = append(sels, selector(s))
	}
	return sels
}

func setOf(names []string) map[string]struct{} {
	set := make(map[string]struct{})
	for _, n := range names {
		set[n] = struct{}{}
	}
	return set
}
