// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"flag"
	"fmt"
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
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

var update = flag.Bool("update", false, "rewrite testdata/*.out.yaml")

// scenario is the form of testdata/*.in.yaml: a whole cluster in a few lines.
type scenario struct {
	Pools []struct {
		Name      string   `json:"name"`
		Addresses []string `json:"addresses"` // first-last
		Broken    bool     `json:"broken"`
	} `json:"pools"`
	Peers []struct {
		Name      string   `json:"name"`
		Address   string   `json:"address"` // empty: unnumbered
		Nodes     []string `json:"nodes"`   // selectors, as kubectl -l takes them
		DualStack bool     `json:"dualStack"`
	} `json:"peers"`
	// Advertisements are listed oldest first, as Parse sorts them.
	Advertisements []struct {
		Name        string   `json:"name"`
		Pools       []string `json:"pools"` // empty: all
		Nodes       []string `json:"nodes"`
		Services    []string `json:"services"`
		Peers       []string `json:"peers"` // empty: all
		V4          int      `json:"v4"`
		V6          int      `json:"v6"`
		LocalPref   uint32   `json:"localPref"`
		Communities []string `json:"communities"`
	} `json:"advertisements"`
	Nodes []struct {
		Name               string            `json:"name"`
		Labels             map[string]string `json:"labels"`
		NetworkUnavailable bool              `json:"networkUnavailable"`
		Excluded           bool              `json:"excluded"`
		Dead               bool              `json:"dead"`
	} `json:"nodes"`
	IgnoreExcludeLabel bool `json:"ignoreExcludeLabel"`
	Services           []struct {
		Name          string            `json:"name"`
		Labels        map[string]string `json:"labels"`
		Addresses     []string          `json:"addresses"`
		AllocatedFrom string            `json:"allocatedFrom"`
		Age           int               `json:"age"` // seconds
		Local         bool              `json:"local"`
		Endpoints     []string          `json:"endpoints"` // nodes; "?" is an endpoint on no node
	} `json:"services"`
}

// outcome is what one node makes of a scenario, in the form of testdata/*.out.yaml.
type outcome struct {
	Node string `json:"node"`
	// Paths are "prefix to peer", with their attributes.
	Paths []string `json:"paths,omitempty"`
	// Services are "name address: Reason", with the peers and advertisements overruled.
	Services []string `json:"services"`
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	ins, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(ins) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, in := range ins {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.yaml"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			var s scenario
			if err := yaml.UnmarshalStrict(b, &s); err != nil {
				t.Fatalf("%s: %v", in, err)
			}
			got, err := yaml.Marshal(s.outcomes())
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

// outcomes decides every address on every node.
func (s *scenario) outcomes() []outcome {
	var outcomes []outcome
	sharers, config := s.sharers(), s.config()
	var nodes []lb.Node
	alive := make(map[lb.NodeName]struct{})
	for _, n := range s.Nodes {
		if !n.Dead {
			alive[lb.NodeName(n.Name)] = struct{}{}
		}
		nodes = append(nodes, lb.Node{Name: lb.NodeName(n.Name), Labels: n.Labels, NetworkUnavailable: n.NetworkUnavailable, Excluded: n.Excluded})
	}
	for i := range nodes {
		n := &nodes[i]
		view := route.NewView(route.Input{Config: config, IgnoreExcludeLabel: s.IgnoreExcludeLabel, Node: n, Nodes: nodes, Members: alive})
		table := route.NewTable()
		table.Use(view)
		o := outcome{Node: string(n.Name)}
		for a, on := range sharers {
			verdict := view.Decide(a, on)
			table.Put(a, verdict.Claims)
			for _, d := range verdict.Decisions {
				o.Services = append(o.Services, describeDecision(d))
			}
		}
		for _, c := range table.Changes() {
			o.Paths = append(o.Paths, describePath(c.PathKey, c.Path))
		}
		slices.Sort(o.Services)
		slices.Sort(o.Paths)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

func describeDecision(d route.Decision) string {
	text := fmt.Sprintf("%s %s: %s", d.Service.Name, d.Address, d.Reason)
	if len(d.Peers) > 0 {
		text += " to " + strings.Join(d.Peers, ", ")
	}
	if d.Tell {
		text += ", which this node tells"
	}
	if len(d.Overruled) > 0 {
		text += "; overruled: " + strings.Join(d.Overruled, ", ")
	}
	return text
}

func describePath(k route.PathKey, p route.Path) string {
	text := fmt.Sprintf("%s to %s", k.Prefix, k.Peer)
	if p.LocalPref != 0 {
		text += fmt.Sprintf(" localPref %d", p.LocalPref)
	}
	for i, c := range p.Communities {
		if i == 0 {
			text += " communities"
		}
		text += " " + c.String()
	}
	if len(p.Overruled) > 0 {
		text += "; overruled: " + strings.Join(p.Overruled, ", ")
	}
	return text
}

func (s *scenario) config() *lb.Config {
	c, all := new(lb.Config), make(map[string]struct{})
	for _, p := range s.Pools {
		pool := lb.Pool{Name: p.Name, Broken: p.Broken, AutoAssign: true}
		for _, r := range p.Addresses {
			pool.Ranges = append(pool.Ranges, mustRange(r))
		}
		c.Pools = append(c.Pools, pool)
		all[p.Name] = struct{}{}
	}
	for _, p := range s.Peers {
		peer := lb.Peer{Name: p.Name, MyASN: 64512, ASN: 64513, BothFamilies: p.DualStack, NodeSelectors: selectors(p.Nodes)}
		if p.Address == "" {
			peer.Interface = p.Name
		} else {
			peer.Address = netip.MustParseAddr(p.Address)
		}
		c.Peers = append(c.Peers, peer)
	}
	for _, a := range s.Advertisements {
		ad := lb.BGPAdvertisement{
			Name: a.Name, Pools: setOf(a.Pools), Aggregation4: a.V4, Aggregation6: a.V6, LocalPref: a.LocalPref,
			NodeSelectors: selectors(a.Nodes), ServiceSelectors: selectors(a.Services),
		}
		if len(a.Pools) == 0 {
			ad.Pools = all
		}
		if a.V4 == 0 {
			ad.Aggregation4 = 32
		}
		if a.V6 == 0 {
			ad.Aggregation6 = 128
		}
		if len(a.Peers) > 0 {
			ad.Peers = setOf(a.Peers)
		}
		for _, text := range a.Communities {
			ad.Communities = append(ad.Communities, mustCommunity(text))
		}
		c.BGPAdvertisements = append(c.BGPAdvertisements, ad)
	}
	return c
}

func (s *scenario) sharers() map[netip.Addr][]plan.Sharer {
	sharers := make(map[netip.Addr][]plan.Sharer)
	for _, svc := range s.Services {
		service := &lb.Service{
			Name:   lb.ServiceName{Namespace: "default", Name: svc.Name},
			Labels: svc.Labels, Local: svc.Local, AllocatedFrom: svc.AllocatedFrom, Created: time.Unix(1_000_000-int64(svc.Age), 0),
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
			a := netip.MustParseAddr(a)
			sharers[a] = append(sharers[a], plan.Sharer{Service: service, Endpoints: endpoints})
		}
	}
	return sharers
}

func mustRange(s string) lb.Range {
	r, err := lb.ParseRange(s)
	if err != nil {
		panic(err)
	}
	return r
}

func mustCommunity(s string) lb.Community {
	c, err := lb.ParseCommunity(s)
	if err != nil {
		panic(err)
	}
	return c
}

func selectors(ss []string) []labels.Selector {
	var sels []labels.Selector
	for _, s := range ss {
		sel, err := labels.Parse(s)
		if err != nil {
			panic(err)
		}
		sels = append(sels, sel)
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
