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

// claiming is a cluster whose speakers claim what they own, hold it for those they have it
// from, and leave to newcomers what is due to them.
type claiming struct {
	*owned
	t        *testing.T
	in       plan.Input
	services map[netip.Addr][]plan.Sharer
	// homes are whom addresses are held for; claims are by whom.
	homes map[netip.Addr]lb.NodeName
	next  netip.Addr
	born  int64
}

func newClaiming(t *testing.T, nodes int) *claiming {
	return &claiming{
		t: t, in: largeInput(nodes), services: make(map[netip.Addr][]plan.Sharer), homes: make(map[netip.Addr]lb.NodeName),
		next: netip.MustParseAddr("10.0.0.1"), owned: newOwned(plan.NewView(largeInput(nodes))),
	}
}

func (c *claiming) put(a netip.Addr) {
	c.sharers[a] = c.services[a]
	c.Put(a, c.services[a], c.homes[a], c.claims[a])
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
	c.put(a)
	return a
}

func (c *claiming) remove(a netip.Addr) {
	delete(c.services, a)
	delete(c.claims, a)
	delete(c.homes, a)
	c.put(a)
	c.settle()
	delete(c.verdicts, a)
}

// members replaces the members and decides everything again.
func (c *claiming) members(alive map[lb.NodeName]struct{}) {
	c.in.Members = maps.Clone(alive)
	c.Use(plan.NewView(c.in))
	for a := range c.services {
		if _, ok := alive[c.claims[a]]; !ok {
			delete(c.claims, a)
		}
		c.put(a)
	}
}

func (c *claiming) owners() map[netip.Addr]lb.NodeName {
	owners := make(map[netip.Addr]lb.NodeName)
	for a, v := range c.verdicts {
		owners[a] = v.Owner
	}
	return owners
}

// decide settles: owners claim, claimants leave to others what is due. It returns how many
// addresses that were owned have moved.
func (c *claiming) decide() (moved int) {
	before := c.owners()
	c.settle()
	c.claim()
	var due []plan.Due
	for _, n := range c.in.Nodes {
		due = append(due, c.Due(n.Name))
	}
	for _, d := range due {
		c.leave(d)
	}
	c.Welcome()
	c.settle()
	c.claim()
	for a, v := range c.verdicts {
		if was := before[a]; was != "" && was != v.Owner {
			moved++
		}
	}
	return moved
}

func (c *claiming) leave(d plan.Due) {
	for to, addresses := range d.To {
		for _, a := range addresses {
			c.homes[a] = to
			c.put(a)
		}
	}
	for _, a := range d.Free {
		delete(c.claims, a)
		c.put(a)
	}
}

func (c *claiming) claim() {
	for a, v := range c.verdicts {
		if v.Owner == "" || c.claims[a] == v.Owner {
			continue
		}
		c.claims[a] = v.Owner
		if c.homes[a] == "" {
			c.homes[a] = v.Owner
		}
		c.put(a)
	}
	c.settle()
}

func (c *claiming) some(r *rand.Rand) netip.Addr {
	as := slices.SortedFunc(maps.Keys(c.services), netip.Addr.Compare)
	return as[r.IntN(len(as))]
}

func (c *claiming) limit() int {
	return (5*len(c.services) + 4*len(c.in.Members) - 1) / (4 * len(c.in.Members))
}

// A Service that comes or goes moves no address of another. Who leaves moves what it had;
// who comes back has that again, and gets no more than its limit of what others have too
// much; who is new gets no more than its limit. As long as nothing is deleted nobody has
// more than that.
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
		kept := 0
		for _, home := range c.homes {
			if home == name {
				kept++
			}
		}
		c.expect(fmt.Sprintf("%s has come, limit %d, %d kept for it", name, c.limit(), kept), c.decide(), max(c.limit(), kept))
		for a, home := range c.homes {
			if home == name && c.verdicts[a].Owner != name {
				c.t.Fatalf("%s is %s's, kept for %s, which is back", a, c.verdicts[a].Owner, name)
			}
		}
	}
}

func (c *claiming) expect(what string, moved, most int) {
	c.t.Helper()
	if moved > most {
		c.t.Fatalf("%s: %d others moved, want %d at most", what, moved, most)
	}
}

func (c *claiming) expectWithin(what string) {
	c.t.Helper()
	for node, n := range c.loads() {
		if n > c.limit() {
			c.t.Fatalf("%s: %s owns %d of %d, more than %d", what, node, n, len(c.services), c.limit())
		}
	}
}

// Who comes back has exactly what it had, and so has everybody else, in whatever order
// nodes have gone and come; and meanwhile nobody has more than its limit.
func TestReturn(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		n := 2 + r.IntN(6)
		c := newClaiming(t, n)
		for range 1 + r.IntN(60) {
			c.create()
			c.decide()
		}
		before, all := c.owners(), maps.Clone(c.in.Members)
		for range 10 {
			alive := maps.Clone(c.in.Members)
			if name := c.in.Nodes[r.IntN(n)].Name; len(alive) == 1 {
				alive = maps.Clone(all)
			} else if _, is := alive[name]; is {
				delete(alive, name)
			} else {
				alive[name] = struct{}{}
			}
			c.members(alive)
			c.decide()
			c.expectWithin(fmt.Sprintf("seed %d, %d of %d nodes are there", seed, len(alive), n))
		}
		c.members(all)
		c.decide()
		for a, owner := range before {
			if now := c.verdicts[a].Owner; now != owner {
				t.Errorf("seed %d, %d nodes: %s was %s's, and is %s's when all are back", seed, n, a, owner, now)
			}
		}
	}
}

// Who is new gets about its share.
func TestNewcomer(t *testing.T) {
	c := newClaiming(t, 5)
	all := maps.Clone(c.in.Members)
	without := maps.Clone(all)
	delete(without, "node-3")
	c.members(without)
	for range 200 {
		c.create()
		c.decide()
	}
	c.members(all)
	moved := c.decide()
	c.expectWithin("node-3 is new")
	if got := c.loads()["node-3"]; got < 25 || got != moved {
		t.Errorf("who is new owns %d of 200 on 5 nodes, and %d have moved", got, moved)
	}
}
