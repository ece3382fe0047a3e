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

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// claiming is a cluster whose speakers claim what they own and give up what is due.
type claiming struct {
	*owned
	t        *testing.T
	in       plan.Input
	services map[netip.Addr][]plan.Sharer
	next     netip.Addr
	born     int64
}

func newClaiming(t *testing.T, nodes int) *claiming {
	in := largeInput(nodes)
	c := &claiming{t: t, in: in, services: make(map[netip.Addr][]plan.Sharer), next: netip.MustParseAddr("10.0.0.1")}
	c.owned = newOwned(plan.NewView(in))
	return c
}

// create makes a Service, as young as it is.
func (c *claiming) create() netip.Addr {
	a := c.next
	c.next, c.born = a.Next(), c.born+1
	c.services[a] = []plan.Sharer{{
		Service: &lb.Service{
			Name: lb.ServiceName{Namespace: "default", Name: a.String()}, Addresses: []netip.Addr{a}, Created: time.Unix(c.born, 0),
		},
		Endpoints: lb.Endpoints{Nodes: map[lb.NodeName]struct{}{"node-1": {}}},
	}}
	c.put(a, c.services[a])
	return a
}

func (c *claiming) remove(a netip.Addr) {
	delete(c.services, a)
	delete(c.claims, a)
	c.put(a, nil)
}

// members replaces the members and decides everything again.
func (c *claiming) members(alive map[lb.NodeName]struct{}) {
	c.in.Members = maps.Clone(alive)
	c.Use(plan.NewView(c.in))
	for a, s := range c.services {
		if _, ok := alive[c.claims[a]]; !ok {
			delete(c.claims, a)
		}
		c.put(a, s)
	}
}

// decide settles: owners claim, claimants give up what is due. It returns how many
// addresses that were owned have moved.
func (c *claiming) decide() (moved int) {
	before := make(map[netip.Addr]lb.NodeName)
	for a, v := range c.verdicts {
		before[a] = v.Owner
	}
	c.settle()
	c.claim()
	var due []netip.Addr
	for _, n := range c.in.Nodes {
		due = append(due, c.Due(n.Name)...)
	}
	for _, a := range due {
		delete(c.claims, a)
		c.put(a, c.services[a])
	}
	c.Welcome()
	c.settle()
	c.claim()
	for a, v := range c.verdicts {
		if len(c.services[a]) == 0 {
			delete(c.verdicts, a)
		} else if was := before[a]; was != "" && was != v.Owner {
			moved++
		}
	}
	return moved
}

func (c *claiming) claim() {
	for a, v := range c.verdicts {
		if v.Owner != "" && c.claims[a] != v.Owner && len(c.services[a]) > 0 {
			c.claims[a] = v.Owner
			c.put(a, c.services[a])
		}
	}
}

func (c *claiming) some(r *rand.Rand) netip.Addr {
	as := slices.SortedFunc(maps.Keys(c.services), netip.Addr.Compare)
	return as[r.IntN(len(as))]
}

// A Service that comes or goes moves no address of another. Who leaves moves what it had,
// who comes no more than its limit, and then nobody has more than that.
func TestClaimsMoveLittle(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		n := 2 + r.IntN(9)
		t.Run(fmt.Sprintf("seed %d, %d nodes", seed, n), func(t *testing.T) {
			c := newClaiming(t, n)
			for range 5 + r.IntN(8*n) {
				c.create()
				c.expect("a Service was created", c.decide(), 0)
				c.expectWithin("only creations")
			}
			for range 60 {
				c.step(r)
			}
		})
	}
}

func (c *claiming) step(r *rand.Rand) {
	c.t.Helper()
	alive := maps.Clone(c.in.Members)
	name := c.in.Nodes[r.IntN(len(c.in.Nodes))].Name
	_, is := alive[name]
	switch k := r.IntN(4); {
	case k == 0 || len(c.services) == 0:
		c.create()
		c.expect("a Service was created", c.decide(), 0)
	case k == 1:
		c.remove(c.some(r))
		c.expect("a Service was deleted", c.decide(), 0)
	case is && len(alive) > 1:
		had := c.loads()[name]
		delete(alive, name)
		c.members(alive)
		c.expect(fmt.Sprintf("%s has left, which had %d", name, had), c.decide(), had)
	case !is:
		alive[name] = struct{}{}
		c.members(alive)
		limit := ceilOf(5*len(c.services), 4*len(alive))
		c.expect(fmt.Sprintf("%s has come, limit %d", name, limit), c.decide(), limit)
	}
}

func ceilOf(a, b int) int { return (a + b - 1) / b }

func (c *claiming) expect(what string, moved, most int) {
	c.t.Helper()
	if moved > most {
		c.t.Fatalf("%s: %d others moved, want %d at most", what, moved, most)
	}
}

func (c *claiming) expectWithin(what string) {
	c.t.Helper()
	limit := ceilOf(5*len(c.services), 4*len(c.in.Members))
	for node, n := range c.loads() {
		if n > limit {
			c.t.Fatalf("%s: %s owns %d of %d, more than %d", what, node, n, len(c.services), limit)
		}
	}
}

// Who comes back gets back what ranks it first, and without other changes that is what it
// had: with many addresses all of it but a few.
func TestReturn(t *testing.T) {
	c := newClaiming(t, 5)
	for range 200 {
		c.create()
	}
	c.decide()
	kept, had := 0, 0
	for _, n := range c.in.Nodes {
		before := maps.Clone(c.verdicts)
		alive := maps.Clone(c.in.Members)
		delete(alive, n.Name)
		c.members(alive)
		c.decide()
		alive[n.Name] = struct{}{}
		c.members(alive)
		c.decide()
		c.expectWithin(string(n.Name) + " is back")
		for a, v := range before {
			if v.Owner == n.Name {
				had++
				if c.verdicts[a].Owner == n.Name {
					kept++
				}
			}
		}
	}
	t.Logf("%d of %d addresses are back", kept, had)
	if 10*kept < 8*had {
		t.Errorf("only %d of %d addresses are back", kept, had)
	}
}
