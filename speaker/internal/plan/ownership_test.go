// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// owned is what an Ownership has said about each address last.
type owned struct {
	*plan.Ownership
	sharers  map[netip.Addr][]plan.Sharer
	claims   map[netip.Addr]lb.NodeName
	verdicts map[netip.Addr]plan.Verdict
}

func newOwned(v *plan.View) *owned {
	o := &owned{
		Ownership: plan.NewOwnership(), sharers: make(map[netip.Addr][]plan.Sharer),
		claims: make(map[netip.Addr]lb.NodeName), verdicts: make(map[netip.Addr]plan.Verdict),
	}
	o.Use(v)
	return o
}

// put replaces the sharers of an address; none takes it away.
func (o *owned) put(a netip.Addr, sharers []plan.Sharer) {
	o.sharers[a] = sharers
	o.Put(a, sharers, o.claims[a])
}

// settle returns the addresses whose verdict is another than before.
func (o *owned) settle() []netip.Addr {
	var changed []netip.Addr
	for a, v := range o.Settle(func(a netip.Addr) []plan.Sharer { return o.sharers[a] }) {
		if !cmp.Equal(o.verdicts[a], v, equateAddrs) {
			changed = append(changed, a)
		}
		o.verdicts[a] = v
	}
	return changed
}

var equateAddrs = cmpopts.EquateComparable(netip.Addr{})

// all puts everything in at once.
func (o *owned) all(sharers map[netip.Addr][]plan.Sharer) {
	for a, s := range sharers {
		o.put(a, s)
	}
	o.settle()
}

func (o *owned) loads() map[lb.NodeName]int {
	loads := make(map[lb.NodeName]int)
	for _, v := range o.verdicts {
		loads[v.Owner]++
	}
	return loads
}

// What is announced depends on what there is, not on how it came to be: addresses that
// come, change and go one by one end where a fresh look ends.
func TestOwnershipHasNoMemory(t *testing.T) {
	forEachWorld(t, func(t *testing.T, r *rand.Rand, w *world) {
		now := newOwned(w.view("node-0"))
		addresses := slices.SortedFunc(maps.Keys(w.sharers()), netip.Addr.Compare)
		full := w.sharers()
		if len(full) == 0 {
			return
		}
		for range 30 {
			a := addresses[r.IntN(len(addresses))]
			if r.IntN(3) > 0 {
				now.claims[a] = w.nodes[r.IntN(len(w.nodes))].Name
			}
			now.put(a, pick(r, full[a], 0.7))
			if r.IntN(3) == 0 {
				now.settle()
			}
		}
		now.settle()
		fresh := newOwned(w.view("node-0"))
		fresh.claims = now.claims
		for _, a := range permuted(r, addresses) {
			if s, ok := now.sharers[a]; ok {
				fresh.put(a, s)
			}
		}
		fresh.settle()
		if diff := cmp.Diff(fresh.verdicts, now.verdicts, equateAddrs); diff != "" {
			t.Errorf("another history, other verdicts (-fresh +grown):\n%s", diff)
		}
	})
}

// All speakers name the same owner, and he may own the address. The same holds with
// claims, of which those of nodes that may not own it are void.
func TestOwnershipAgrees(t *testing.T) {
	forEachWorld(t, func(t *testing.T, r *rand.Rand, w *world) {
		claims := make(map[netip.Addr]lb.NodeName)
		for a := range w.sharers() {
			if r.IntN(2) == 0 {
				claims[a] = lb.NodeName(fmt.Sprintf("node-%d", r.IntN(10)))
			}
		}
		var first map[netip.Addr]plan.Verdict
		for _, n := range w.nodes {
			o := newOwned(w.view(n.Name))
			o.claims = claims
			o.all(w.sharers())
			if first == nil {
				first = o.verdicts
			}
			for a, v := range o.verdicts {
				if v.Owner != first[a].Owner {
					t.Errorf("%s: owner is %q or %q", a, v.Owner, first[a].Owner)
				}
				checkDecisions(t, n.Name, a, v)
				if v.Owner != "" {
					i := slices.IndexFunc(w.nodes, func(n lb.Node) bool { return n.Name == v.Owner })
					checkSuits(t, w, a, w.nodes[i], v)
				}
			}
		}
	})
}

// Addresses with the same candidates are spread: none owns more than 1.25 times the
// mean, rounded up, whatever else there is.
func TestOwnershipSpreads(t *testing.T) {
	for _, tt := range []struct{ nodes, services int }{{3, 6}, {3, 30}, {9, 30}, {9, 500}, {200, 1000}} {
		t.Run(fmt.Sprintf("%d on %d", tt.services, tt.nodes), func(t *testing.T) {
			o := newOwned(plan.NewView(largeInput(tt.nodes)))
			services := largeServices(tt.services)
			maps.DeleteFunc(services, func(_ netip.Addr, s []plan.Sharer) bool { return s[0].Service.Local })
			o.all(services)
			limit := (5*len(services) + 4*tt.nodes - 1) / (4 * tt.nodes)
			for node, n := range o.loads() {
				if n > limit {
					t.Errorf("%s owns %d of %d, more than %d", node, n, len(services), limit)
				}
			}
		})
	}
}

// A claim counts among the best candidates only: preferences come first, and the dead
// have no say.
func TestClaims(t *testing.T) {
	in := largeInput(3)
	a := netip.MustParseAddr("10.0.0.2") // of a Service with externalTrafficPolicy Cluster
	services := largeServices(2)
	owner := func(in plan.Input, claimant lb.NodeName) lb.NodeName {
		o := newOwned(plan.NewView(in))
		o.claims[a] = claimant
		o.all(services)
		return o.verdicts[a].Owner
	}
	for _, n := range in.Nodes {
		if got := owner(in, n.Name); got != n.Name {
			t.Errorf("claimed by %s, owned by %s", n.Name, got)
		}
	}
	if got, want := owner(in, "stranger"), owner(in, ""); got != want {
		t.Errorf("claimed by a stranger, owned by %s, want %s as without the claim", got, want)
	}
	drained := largeInput(3)
	drained.Nodes[1].Draining = true
	if got := owner(drained, "node-1"); got == "node-1" {
		t.Error("a draining node keeps what it claims")
	}
	preferring := largeInput(3)
	preferring.Config.L2Advertisements[0].PreferredNodes = []lb.PreferredNode{{Weight: 1, Preference: selector("zone=2")}}
	if got := owner(preferring, "node-1"); got != "node-2" {
		t.Errorf("node-2 is preferred, node-1 claims, %s owns", got)
	}
}

// An owner that goes leaves its addresses to the heirs that were named before, but for a
// few that the limit moves elsewhere.
func TestHeirs(t *testing.T) {
	in := largeInput(9)
	services := largeServices(200)
	maps.DeleteFunc(services, func(_ netip.Addr, s []plan.Sharer) bool { return s[0].Service.Local })
	before := newOwned(plan.NewView(in))
	before.all(services)
	right, all := 0, 0
	for _, gone := range in.Nodes {
		rest := largeInput(9)
		delete(rest.Members, gone.Name)
		after := newOwned(plan.NewView(rest))
		after.all(services)
		inherited := make(map[lb.NodeName]struct{})
		for a, v := range before.verdicts {
			if v.Owner != gone.Name {
				continue
			}
			all++
			if before.Heir(a) == after.verdicts[a].Owner {
				right++
			}
			inherited[after.verdicts[a].Owner] = struct{}{}
		}
		if diff := cmp.Diff(inherited, before.Heirs(gone.Name)); diff != "" {
			t.Errorf("heirs of %s (-those who inherited +those who were to):\n%s", gone.Name, diff)
		}
	}
	t.Logf("%d of %d heirs inherited", right, all)
	if 10*right < 8*all {
		t.Errorf("only %d of %d heirs inherited", right, all)
	}
}

// Both addresses of a dual-stack Service have one owner also when they are spread.
func TestOwnershipDualStack(t *testing.T) {
	in := largeInput(5)
	in.Config.Pools[0].Ranges = append(in.Config.Pools[0].Ranges, mustRange("fd00::-fd00::ffff"))
	o := newOwned(plan.NewView(in))
	services := largeServices(40)
	six := netip.MustParseAddr("fd00::1")
	pairs := make(map[netip.Addr]netip.Addr)
	for four, s := range maps.Clone(services) {
		s[0].Service.Addresses = append(s[0].Service.Addresses, six)
		services[six], pairs[four] = s, six
		six = six.Next()
	}
	o.all(services)
	for four, six := range pairs {
		if o.verdicts[four].Owner != o.verdicts[six].Owner {
			t.Errorf("%s is owned by %s, %s by %s", four, o.verdicts[four].Owner, six, o.verdicts[six].Owner)
		}
	}
}

// What an owner leaves behind falls to a candidate of second choice where there is no
// other: the verdict is the one that there is without the owner.
func TestBequest(t *testing.T) {
	forEachWorld(t, func(t *testing.T, _ *rand.Rand, w *world) {
		self := w.nodes[0].Name
		sharers := w.sharers()
		o := newOwned(w.view(self))
		o.all(sharers)
		for a, v := range o.verdicts {
			got := o.Bequest(a, sharers[a])
			if heir := o.Heir(a); heir != "" {
				if got.Owner != heir {
					t.Errorf("%s is left to %q, whose heir is %q", a, got.Owner, heir)
				}
				continue
			}
			rest := *w
			rest.members = maps.Clone(w.members)
			delete(rest.members, v.Owner)
			want := rest.view(self).Decide(a, sharers[a])
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s without %s (-want +got):\n%s", a, v.Owner, diff)
			}
		}
	})
}
