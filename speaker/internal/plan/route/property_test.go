// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

// world is a random cluster that changes, seen from one node.
type world struct {
	random   *rand.Rand
	config   *lb.Config
	node     lb.Node
	other    lb.Node
	services map[lb.ServiceName]plan.Sharer
}

func newWorld(seed uint64) *world {
	w := &world{random: rand.New(rand.NewPCG(seed, 5)), services: make(map[lb.ServiceName]plan.Sharer)}
	w.node.Name = "self"
	w.changeConfig()
	for range 25 {
		w.changeService()
	}
	return w
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

// changeConfig makes another configuration and another node.
func (w *world) changeConfig() {
	r := w.random
	c := &lb.Config{Pools: []lb.Pool{
		{Name: "p0", Ranges: []lb.Range{mustRange("10.0.0.0/28"), mustRange("fd00::/124")}},
		{Name: "p1", Ranges: []lb.Range{mustRange("10.0.1.0/30")}},
		{Name: "p2", Broken: true},
	}}
	nodeSelectors, serviceSelectors := selectors([]string{"rack=0", "rack=1"}), selectors([]string{"app=a", "app=b"})
	for i := range 1 + r.IntN(4) {
		peer := lb.Peer{
			Name: fmt.Sprint("peer-", i), MyASN: 1, ASN: 2, Address: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)),
			BothFamilies: r.IntN(2) == 0, NodeSelectors: pick(r, nodeSelectors, 0.2),
		}
		if r.IntN(3) == 0 {
			peer.Address = netip.MustParseAddr(fmt.Sprintf("fd01::%d", i))
		}
		c.Peers = append(c.Peers, peer)
	}
	for i := range 1 + r.IntN(5) {
		ad := lb.BGPAdvertisement{
			Name: fmt.Sprint("ad-", i), Pools: setOf(pick(r, []string{"p0", "p1", "p2"}, 0.7)), Aggregation4: 32, Aggregation6: 128,
			LocalPref: uint32(r.IntN(3)), NodeSelectors: pick(r, nodeSelectors, 0.2), ServiceSelectors: pick(r, serviceSelectors, 0.2),
			Communities: pick(r, []lb.Community{lb.MakeCommunity(1, 1), lb.MakeCommunity(2, 2), lb.MakeLargeCommunity(1, 1, 1)}, 0.4),
		}
		if len(ad.ServiceSelectors) == 0 {
			ad.Aggregation4, ad.Aggregation6 = 27+r.IntN(6), 124+r.IntN(5)
		}
		if r.IntN(3) == 0 {
			ad.Peers = setOf(pick(r, []string{"peer-0", "peer-1", "peer-2"}, 0.5))
		}
		c.BGPAdvertisements = append(c.BGPAdvertisements, ad)
	}
	w.config = c
	w.node, w.other = w.randomNode("self"), w.randomNode("other")
}

func (w *world) randomNode(name lb.NodeName) lb.Node {
	r := w.random
	return lb.Node{
		Name: name, Labels: labels.Set{"rack": fmt.Sprint(r.IntN(3))},
		Excluded: r.IntN(20) == 0, NetworkUnavailable: r.IntN(20) == 0,
	}
}

// changeService makes, changes or deletes a Service. Addresses are few, so that
// Services share them and their prefixes. It returns the addresses concerned.
func (w *world) changeService() []netip.Addr {
	r := w.random
	name := lb.ServiceName{Namespace: "default", Name: fmt.Sprint("s", r.IntN(20))}
	var concerned []netip.Addr
	if old, ok := w.services[name]; ok {
		concerned = slices.Clone(old.Service.Addresses)
	}
	if r.IntN(5) == 0 {
		delete(w.services, name)
		return concerned
	}
	s := &lb.Service{
		Name: name, Labels: labels.Set{"app": string(rune('a' + r.IntN(3)))}, Local: r.IntN(2) == 0, Created: time.Unix(int64(r.IntN(5)), 0),
	}
	if r.IntN(3) == 0 {
		s.AllocatedFrom = "p2"
	}
	for _, a := range pick(r, []string{"10.0.%d.%d", "fd00::%d:%d"}, 0.7) {
		s.Addresses = append(s.Addresses, netip.MustParseAddr(fmt.Sprintf(a, r.IntN(3), r.IntN(8))))
	}
	endpoints := lb.Endpoints{Nodes: map[lb.NodeName]struct{}{}, Elsewhere: r.IntN(3) == 0}
	for _, n := range pick(r, []lb.NodeName{"self", "other"}, 0.5) {
		endpoints.Nodes[n] = struct{}{}
	}
	w.services[name] = plan.Sharer{Service: s, Endpoints: endpoints}
	return append(concerned, s.Addresses...)
}

func (w *world) sharers(a netip.Addr) []plan.Sharer {
	var sharers []plan.Sharer
	for _, s := range w.services {
		if slices.Contains(s.Service.Addresses, a) {
			sharers = append(sharers, s)
		}
	}
	return sharers
}

func (w *world) addresses() []netip.Addr {
	var all []netip.Addr
	for _, s := range w.services {
		all = append(all, s.Service.Addresses...)
	}
	return all
}

func (w *world) view() *route.View {
	return route.NewView(route.Input{Config: w.config, Node: &w.node, Nodes: []lb.Node{w.other, w.node}})
}

// oracle is what is to be advertised, by going through everything there is.
func (w *world) oracle() map[route.PathKey]route.Path {
	want := make(map[route.PathKey]route.Path)
	peers, _ := w.config.PeersOn(&w.node)
	if gated(w.node) {
		return want
	}
	for i := range w.config.BGPAdvertisements { // the oldest first
		ad := &w.config.BGPAdvertisements[i]
		merged := make(map[route.PathKey]bool)
		for _, s := range w.services {
			for _, a := range s.Service.Addresses {
				prefix, ok := w.wanted(ad, s, a, w.node)
				ok = ok && w.permitted(s, a)
				for _, p := range peers.Peers {
					key := route.PathKey{Peer: p.Name, Prefix: prefix}
					if ok && ad.Tells(p.Name) && p.Carries(lb.FamilyOf(a)) && !merged[key] {
						merged[key] = true
						want[key] = merge(want[key], ad)
					}
				}
			}
		}
	}
	return want
}

func gated(n lb.Node) bool { return n.Excluded || n.NetworkUnavailable }

// permitted reports whether the others who share an address leave it to a Service, and
// this node to the address: all that want traffic where their endpoints are only, and
// have a node to advertise them, must have this one; but those who have no node in common
// with older ones do not count.
func (w *world) permitted(s plan.Sharer, a netip.Addr) bool {
	sharers := w.sharers(a)
	slices.SortFunc(sharers, func(x, y plan.Sharer) int { return lb.CompareAge(x.Service, y.Service) })
	all := []lb.Node{w.node, w.other}
	bounded := false
	for _, other := range sharers {
		var theirs, both []lb.Node
		for _, n := range []lb.Node{w.node, w.other} {
			if other.Service.Local && w.candidate(n, other, a) {
				theirs = append(theirs, n)
				if slices.ContainsFunc(all, func(m lb.Node) bool { return m.Name == n.Name }) {
					both = append(both, n)
				}
			}
		}
		switch {
		case len(theirs) == 0:
		case len(both) == 0 && other.Service.Name == s.Service.Name:
			return false
		case len(both) > 0:
			all, bounded = both, true
		}
	}
	return !bounded || slices.ContainsFunc(all, func(n lb.Node) bool { return n.Name == w.node.Name })
}

// candidate reports whether a node could advertise an address for a Service.
func (w *world) candidate(n lb.Node, s plan.Sharer, a netip.Addr) bool {
	for i := range w.config.BGPAdvertisements {
		ad := &w.config.BGPAdvertisements[i]
		_, ok := w.wanted(ad, s, a, n)
		for _, p := range w.config.Peers {
			if ok && !gated(n) && ad.Tells(p.Name) && p.On(n.Labels) && p.Carries(lb.FamilyOf(a)) {
				return true
			}
		}
	}
	return false
}

// wanted returns the prefix in which an advertisement wants an address of a Service
// advertised by a node, if it does.
func (w *world) wanted(ad *lb.BGPAdvertisement, s plan.Sharer, a netip.Addr, n lb.Node) (netip.Prefix, bool) {
	length, covered := 0, false
	for _, pool := range w.config.Pools {
		if _, ok := ad.Pools[pool.Name]; !ok {
			continue
		}
		for _, r := range pool.Ranges {
			if r.Contains(a) {
				length, covered = ad.LengthIn(r), true
			}
		}
		if pool.Broken && s.Service.AllocatedFrom == pool.Name && !covered && !w.inSomeRange(a) {
			length, covered = ad.Aggregation(lb.FamilyOf(a)), true
		}
	}
	ok := covered && s.Endpoints.Any() && (!s.Service.Local || s.Endpoints.On(n.Name)) && ad.On(n.Labels) &&
		(len(ad.ServiceSelectors) == 0 || lb.AnyMatches(ad.ServiceSelectors, s.Service.Labels))
	if !ok {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, length).Masked(), true
}

func (w *world) inSomeRange(a netip.Addr) bool {
	return slices.ContainsFunc(w.config.Pools, func(p lb.Pool) bool {
		return slices.ContainsFunc(p.Ranges, func(r lb.Range) bool { return r.Contains(a) })
	})
}

func merge(p route.Path, ad *lb.BGPAdvertisement) route.Path {
	if p.LocalPref == 0 {
		p.LocalPref = ad.LocalPref
	} else if ad.LocalPref != 0 && ad.LocalPref != p.LocalPref {
		p.Overruled = append(slices.Clone(p.Overruled), ad.Name)
	}
	for _, c := range ad.Communities {
		if !slices.Contains(p.Communities, c) {
			p.Communities = append(slices.Clone(p.Communities), c)
		}
	}
	p.Communities = slices.Clone(p.Communities)
	slices.SortFunc(p.Communities, lb.Community.Compare)
	return p
}

// router is told changes, and checks that each is one.
type router map[route.PathKey]route.Path

func (r router) apply(t *testing.T, changes []route.Change) {
	t.Helper()
	for _, c := range changes {
		old, there := r[c.PathKey]
		switch {
		case c.Withdraw && !there:
			t.Errorf("%v is withdrawn and was not advertised", c.PathKey)
		case c.Withdraw:
			delete(r, c.PathKey)
		case there && cmp.Equal(old, c.Path, exactly()...):
			t.Errorf("%v is advertised again as it was", c.PathKey)
		default:
			r[c.PathKey] = c.Path
		}
	}
}

func exactly() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b lb.Community) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) }),
		cmp.Comparer(func(a, b []lb.Community) bool { return slices.Equal(a, b) }),
	}
}

// However Services and configuration change, what has been told of the changes is what
// should be advertised now: nothing is told twice, and nothing depends on history.
func TestChangesAddUp(t *testing.T) {
	t.Parallel()
	paths := 0
	for seed := range uint64(30) {
		w := newWorld(seed)
		table, told := route.NewTable(), router{}
		view := w.view()
		table.Use(view)
		concerned := w.addresses()
		for step := range 60 {
			for _, a := range concerned {
				table.Put(a, view.Decide(a, w.sharers(a)).Claims)
			}
			told.apply(t, table.Changes())
			if diff := cmp.Diff(w.oracle(), map[route.PathKey]route.Path(told), exactly()...); diff != "" {
				t.Fatalf("seed %d, step %d: advertised (-want +got):\n%s", seed, step, diff)
			}
			if table.Len() != len(told) {
				t.Fatalf("seed %d, step %d: Len = %d; want %d", seed, step, table.Len(), len(told))
			}
			if again := table.Changes(); len(again) > 0 {
				t.Fatalf("seed %d, step %d: told again: %v", seed, step, again)
			}
			paths += len(told)
			concerned = nil
			for range 1 + w.random.IntN(3) {
				concerned = append(concerned, w.changeService()...)
			}
			if w.random.IntN(6) == 0 {
				w.changeConfig()
				view = w.view()
				table.Use(view)
				concerned = w.addresses()
			}
		}
	}
	if paths < 10_000 {
		t.Errorf("only %d paths in all: the worlds are too poor to show anything", paths)
	}
}

// A Service is announced if and only if it has peers, and these are those that hear of
// a prefix that contains its address.
func TestDecisionsAgreeWithPaths(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		w := newWorld(seed)
		view, want := w.view(), w.oracle()
		for _, a := range w.addresses() {
			for _, d := range view.Decide(a, w.sharers(a)).Decisions {
				if (d.Reason == lb.ReasonAnnounced) != (len(d.Peers) > 0) {
					t.Errorf("seed %d: %+v", seed, d)
				}
				for _, p := range d.Peers {
					if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k route.PathKey) bool {
						return k.Peer == p && k.Prefix.Contains(a)
					}) {
						t.Errorf("seed %d: %s is said to be told of %s, and is not", seed, p, a)
					}
				}
			}
		}
	}
}

// The order of the Services on an address, of peers and of pools changes nothing.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		w := newWorld(seed)
		all := func() map[route.PathKey]route.Path {
			view, table, told := w.view(), route.NewTable(), router{}
			table.Use(view)
			addresses := w.addresses()
			w.random.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
			for _, a := range addresses {
				sharers := w.sharers(a)
				w.random.Shuffle(len(sharers), func(i, j int) { sharers[i], sharers[j] = sharers[j], sharers[i] })
				table.Put(a, view.Decide(a, sharers).Claims)
			}
			told.apply(t, table.Changes())
			return told
		}
		want := all()
		w.random.Shuffle(len(w.config.Peers), func(i, j int) { w.config.Peers[i], w.config.Peers[j] = w.config.Peers[j], w.config.Peers[i] })
		slices.Reverse(w.config.Pools)
		if diff := cmp.Diff(want, all(), exactly()...); diff != "" {
			t.Fatalf("seed %d: another order, other paths (-one +other):\n%s", seed, diff)
		}
	}
}

// Without a Node object this node advertises nothing, and has no peers.
func TestUnknownNode(t *testing.T) {
	t.Parallel()
	w := newWorld(1)
	view := route.NewView(route.Input{Config: w.config})
	if n := len(view.Peers().Peers); n > 0 {
		t.Errorf("%d peers; want none", n)
	}
	for _, a := range w.addresses() {
		if claims := view.Decide(a, w.sharers(a)).Claims; len(claims) > 0 {
			t.Errorf("%s is claimed: %v", a, claims)
		}
	}
}
