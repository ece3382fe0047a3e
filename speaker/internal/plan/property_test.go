// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// world is a random cluster.
type world struct {
	config   *lb.Config
	nodes    []lb.Node
	members  map[lb.NodeName]struct{}
	services []plan.Sharer
}

// pick returns a random subset of what it is given.
func pick[T any](r *rand.Rand, from []T, chance float64) []T {
	var picked []T
	for _, x := range from {
		if r.Float64() < chance {
			picked = append(picked, x)
		}
	}
	return picked
}

func newWorld(r *rand.Rand) *world {
	w := &world{config: new(lb.Config), members: make(map[lb.NodeName]struct{})}
	var names []lb.NodeName
	for i := range 1 + r.IntN(9) {
		name := lb.NodeName(fmt.Sprintf("node-%d", i))
		names = append(names, name)
		w.nodes = append(w.nodes, lb.Node{
			Name: name, Labels: labels.Set{"rack": fmt.Sprint(r.IntN(3)), "zone": fmt.Sprint(r.IntN(2))},
			NetworkUnavailable: r.IntN(12) == 0, Excluded: r.IntN(12) == 0,
		})
		if r.IntN(6) > 0 {
			w.members[name] = struct{}{}
		}
	}
	w.addPools(r)
	w.addServices(r, names)
	return w
}

func (w *world) addPools(r *rand.Rand) {
	pools := []string{"p0", "p1", "p2"}
	for i, name := range pools {
		w.config.Pools = append(w.config.Pools, lb.Pool{Name: name, Ranges: []lb.Range{
			mustRange(fmt.Sprintf("10.0.%d.0-10.0.%d.3", i, i)), mustRange(fmt.Sprintf("fd00::%d:0-fd00::%d:3", i, i)),
		}})
	}
	nodeSelectors := selectors([]string{"rack=0", "rack=1", "zone=1"})
	serviceSelectors := selectors([]string{"app=a", "app=b"})
	for i := range 1 + r.IntN(4) {
		ad := lb.L2Advertisement{
			Name: fmt.Sprintf("ad-%d", i), Pools: setOf(pick(r, pools, 0.7)),
			NodeSelectors:    pick(r, nodeSelectors, 0.2),
			ServiceSelectors: pick(r, serviceSelectors, 0.2),
			Interfaces:       pick(r, []string{"eth1", "eth0"}, 0.3),
		}
		for _, s := range pick(r, nodeSelectors, 0.3) {
			ad.PreferredNodes = append(ad.PreferredNodes, lb.PreferredNode{Weight: 1 + r.Int32N(3), Preference: s})
		}
		w.config.L2Advertisements = append(w.config.L2Advertisements, ad)
	}
}

// addServices makes Services with a v4 and a v6 address, of which few exist, so that
// sharing in all forms, chains included, is frequent.
func (w *world) addServices(r *rand.Rand, nodes []lb.NodeName) {
	for i := range 1 + r.IntN(20) {
		s := &lb.Service{
			Name:    lb.ServiceName{Namespace: "default", Name: fmt.Sprint("s", i)},
			Labels:  labels.Set{"app": string(rune('a' + r.IntN(3)))},
			Created: time.Unix(int64(r.IntN(5)), 0), Local: r.IntN(2) == 0,
		}
		if r.IntN(4) > 0 {
			s.Addresses = append(s.Addresses, netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", r.IntN(4), r.IntN(4))))
		}
		if r.IntN(2) > 0 {
			s.Addresses = append(s.Addresses, netip.MustParseAddr(fmt.Sprintf("fd00::%d:%d", r.IntN(4), r.IntN(4))))
		}
		endpoints := lb.Endpoints{Nodes: make(map[lb.NodeName]struct{}), Elsewhere: r.IntN(8) == 0}
		for _, n := range pick(r, nodes, 0.4) {
			endpoints.Nodes[n] = struct{}{}
		}
		w.services = append(w.services, plan.Sharer{Service: s, Endpoints: endpoints})
	}
}

func (w *world) view(self lb.NodeName) *plan.View {
	return plan.NewView(plan.Input{
		Self: self, Config: w.config, Nodes: w.nodes, Members: w.members,
		Interfaces: map[string]struct{}{"eth0": {}},
	})
}

func (w *world) sharers() map[netip.Addr][]plan.Sharer {
	m := make(map[netip.Addr][]plan.Sharer)
	for _, s := range w.services {
		for _, a := range s.Service.Addresses {
			m[a] = append(m[a], s)
		}
	}
	return m
}

// verdicts decides every address, as seen from the node self.
func (w *world) verdicts(self lb.NodeName) map[netip.Addr]plan.Verdict {
	view := w.view(self)
	vs := make(map[netip.Addr]plan.Verdict)
	for a, sharers := range w.sharers() {
		vs[a] = view.Decide(a, sharers)
	}
	return vs
}

// shuffled returns the same world with everything in another order.
func (w *world) shuffled(r *rand.Rand) *world {
	o := &world{config: new(lb.Config), members: maps.Clone(w.members)}
	o.config.Pools = permuted(r, w.config.Pools)
	// Parse sorts advertisements by name; the plan must not depend on that either.
	o.config.L2Advertisements = permuted(r, w.config.L2Advertisements)
	o.nodes = permuted(r, w.nodes)
	o.services = permuted(r, w.services)
	return o
}

func permuted[T any](r *rand.Rand, from []T) []T {
	to := slices.Clone(from)
	r.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
	return to
}

// forEachWorld runs f on many random worlds, reproducibly.
func forEachWorld(t *testing.T, f func(t *testing.T, r *rand.Rand, w *world)) {
	t.Helper()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(r)
		f(t, r, w)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	forEachWorld(t, func(t *testing.T, r *rand.Rand, w *world) {
		want, got := w.verdicts("node-0"), w.shuffled(r).verdicts("node-0")
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("other order, other verdicts (-first +second):\n%s", diff)
		}
	})
}

// One advertisement with two node selectors is the same as two with one each.
func TestSplitDoesNotMatter(t *testing.T) {
	forEachWorld(t, func(t *testing.T, _ *rand.Rand, w *world) {
		want := w.verdicts("node-0")
		split := *w
		split.config = &lb.Config{Pools: w.config.Pools}
		for _, ad := range w.config.L2Advertisements {
			pools := slices.Sorted(maps.Keys(ad.Pools))
			for i, p := range pools {
				part := ad
				part.Name, part.Pools = fmt.Sprintf("%s-%d", ad.Name, i), setOf([]string{p})
				split.config.L2Advertisements = append(split.config.L2Advertisements, part)
			}
		}
		if diff := cmp.Diff(want, split.verdicts("node-0"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("split advertisements, other verdicts (-whole +split):\n%s", diff)
		}
	})
}

func TestOneOwner(t *testing.T) {
	forEachWorld(t, func(t *testing.T, _ *rand.Rand, w *world) {
		announcers := make(map[netip.Addr]int)
		owners := make(map[netip.Addr]lb.NodeName)
		for _, n := range w.nodes {
			for a, v := range w.verdicts(n.Name) {
				if v.Announce {
					announcers[a]++
				}
				if owner, ok := owners[a]; ok && owner != v.Owner {
					t.Errorf("%s: owner is %q or %q", a, owner, v.Owner)
				}
				owners[a] = v.Owner
				checkDecisions(t, n.Name, a, v)
			}
		}
		for a, n := range announcers {
			if n > 1 {
				t.Errorf("%s: %d nodes announce", a, n)
			}
		}
	})
}

// checkDecisions holds a verdict and its decisions against each other.
func checkDecisions(t *testing.T, self lb.NodeName, a netip.Addr, v plan.Verdict) {
	t.Helper()
	took := false
	for _, d := range v.Decisions {
		switch d.Reason {
		case lb.ReasonAnnounced, lb.ReasonNoInterface, lb.ReasonNotOwner:
			took = true
			if d.Owner != v.Owner || (d.Reason == lb.ReasonNotOwner) == (v.Owner == self) {
				t.Errorf("%s on %s: %+v, but the owner is %q", a, self, d, v.Owner)
			}
			if (d.Reason == lb.ReasonAnnounced) != v.Announce {
				t.Errorf("%s on %s: %+v, but announce = %t", a, self, d, v.Announce)
			}
		default:
			if d.Owner != "" {
				t.Errorf("%s on %s: %+v has an owner", a, self, d)
			}
		}
	}
	if took != (v.Owner != "") {
		t.Errorf("%s on %s: owner %q, but a service takes part: %t", a, self, v.Owner, took)
	}
}

// Whoever owns an address may own it: alive, no gate, selected, with an endpoint.
func TestOwnerIsEligible(t *testing.T) {
	forEachWorld(t, func(t *testing.T, _ *rand.Rand, w *world) {
		for a, v := range w.verdicts("node-0") {
			if v.Owner == "" {
				continue
			}
			i := slices.IndexFunc(w.nodes, func(n lb.Node) bool { return n.Name == v.Owner })
			n := w.nodes[i]
			if _, alive := w.members[n.Name]; !alive || n.Excluded || n.NetworkUnavailable {
				t.Errorf("%s: owner %+v, alive = %t", a, n, alive)
			}
			checkSuits(t, w, a, n, v)
		}
	})
}

func checkSuits(t *testing.T, w *world, a netip.Addr, n lb.Node, v plan.Verdict) {
	t.Helper()
	for _, s := range w.services {
		i := slices.IndexFunc(v.Decisions, func(d plan.Decision) bool { return d.Service == s.Service.Name })
		if i < 0 || v.Decisions[i].Owner == "" {
			continue
		}
		if !s.Endpoints.Any() || s.Service.Local && !s.Endpoints.On(n.Name) {
			t.Errorf("%s: %s has no endpoint on owner %s", a, s.Service.Name, n.Name)
		}
		selected := slices.ContainsFunc(w.config.L2Advertisements, func(ad lb.L2Advertisement) bool {
			return (len(ad.NodeSelectors) == 0 || lb.AnyMatches(ad.NodeSelectors, n.Labels)) &&
				(len(ad.ServiceSelectors) == 0 || lb.AnyMatches(ad.ServiceSelectors, s.Service.Labels))
		})
		if !selected {
			t.Errorf("%s: no advertisement of %s selects owner %s", a, s.Service.Name, n.Name)
		}
	}
}

// A Service that takes no part changes nothing but the election key: with the same
// addresses as another, it changes nothing at all.
func TestIdleServiceChangesNothing(t *testing.T) {
	forEachWorld(t, func(t *testing.T, r *rand.Rand, w *world) {
		want := w.verdicts("node-0")
		model := w.services[r.IntN(len(w.services))].Service
		idle := &lb.Service{
			Name: lb.ServiceName{Namespace: "idle", Name: "idle"}, Labels: model.Labels,
			Created: time.Unix(-1, 0), Addresses: model.Addresses,
		}
		w.services = append(w.services, plan.Sharer{Service: idle})
		for a, v := range w.verdicts("node-0") {
			v.Decisions = slices.DeleteFunc(v.Decisions, func(d plan.Decision) bool { return d.Service == idle.Name })
			if diff := cmp.Diff(want[a], v, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("%s moved because of a service without endpoints:\n%s", a, diff)
			}
		}
	})
}

// Both addresses of a Service that shares them with nobody, or only with Services
// holding the same pair, have one owner when the same advertisements cover both.
func TestDualStackOnOneNode(t *testing.T) {
	c := &lb.Config{
		Pools:            []lb.Pool{{Name: "p", Ranges: []lb.Range{mustRange("10.0.0.0-10.0.255.255"), mustRange("fd00::-fd00::ffff")}}},
		L2Advertisements: []lb.L2Advertisement{{Name: "ad", Pools: setOf([]string{"p"})}},
	}
	view := plan.NewView(plan.Input{Config: c, Nodes: []lb.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}})
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	owners := make(map[lb.NodeName]int)
	for i := range 1000 {
		s := &lb.Service{Addresses: []netip.Addr{four, six}}
		if i%2 == 0 {
			s.Addresses = []netip.Addr{six, four}
		}
		sharers := []plan.Sharer{{Service: s, Endpoints: lb.Endpoints{Elsewhere: true}}}
		v4, v6 := view.Decide(four, sharers), view.Decide(six, sharers)
		if v4.Owner != v6.Owner || v4.Owner == "" {
			t.Fatalf("%s is owned by %q, %s by %q", four, v4.Owner, six, v6.Owner)
		}
		owners[v4.Owner]++
		four, six = four.Next(), six.Next()
	}
	if len(owners) != 4 {
		t.Errorf("owners %v: not spread", owners)
	}
}

// What a View returns must not be changed by later decisions.
func TestViewIsImmutable(t *testing.T) {
	forEachWorld(t, func(t *testing.T, _ *rand.Rand, w *world) {
		view := w.view("node-0")
		decide := func() map[netip.Addr]plan.Verdict {
			vs := make(map[netip.Addr]plan.Verdict)
			for a, s := range w.sharers() {
				vs[a] = view.Decide(a, s)
			}
			return vs
		}
		first := decide()
		if diff := cmp.Diff(first, decide(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("second pass differs (-first +second):\n%s", diff)
		}
	})
}
