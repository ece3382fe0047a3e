// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
	"github.com/herald-lb/herald/speaker/internal/link"
)

// grapevine carries rumours between the speakers of a test that hear each other.
type grapevine struct {
	mu   sync.Mutex // guards ears
	ears map[lb.NodeName]*Facts
}

// voice is one speaker's end of the grapevine.
type voice struct {
	*grapevine
	node lb.NodeName
}

func (v voice) Say(s facts.Statement) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ears[v.node] == nil {
		return // cut off
	}
	for node, f := range v.ears {
		if node != v.node {
			f.Hear([]facts.Statement{s})
		}
	}
}

// join lets a speaker hear the others, and has it exchange everything with them.
func (g *grapevine) join(node lb.NodeName, f *Facts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range g.ears {
		other.Hear(f.Everything())
		f.Hear(other.Everything())
	}
	g.ears[node] = f
}

func (g *grapevine) leave(node lb.NodeName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.ears, node)
}

// talking gives a speaker a policy and a voice.
func (g *grapevine) talking(node lb.NodeName, failback Failback) option {
	return func(c *Config) {
		c.Facts, c.Rumours, c.Failback = NewFacts(node), voice{g, node}, failback
		g.join(node, c.Facts)
	}
}

// pair is two speakers that know of the same Services.
type pair struct {
	*grapevine
	a, b *speaker
}

func newPair(t *testing.T, failback Failback) *pair {
	p := &pair{grapevine: &grapevine{ears: make(map[lb.NodeName]*Facts)}}
	p.a = newSpeaker(t, "a", newFakeStatusAPI(), p.talking("a", failback))
	p.b = newSpeaker(t, "b", newFakeStatusAPI(), p.talking("b", failback))
	for _, s := range []*speaker{p.a, p.b} {
		s.members.set("a", "b")
		fill(s.inventory, "a", "b")
		add(s.inventory, "web", "192.0.2.1")
	}
	return p
}

// owner returns the one that announces; it fails if none does, or both.
func (p *pair) owner(t *testing.T) (owner, other *speaker) {
	t.Helper()
	a, b := len(p.a.layer2.addresses()) > 0, len(p.b.layer2.addresses()) > 0
	switch {
	case a && !b:
		return p.a, p.b
	case b && !a:
		return p.b, p.a
	}
	t.Fatalf("a announces: %t, b announces: %t; want one of them", a, b)
	return nil, nil
}

func (p *pair) start(t *testing.T) (stop func()) {
	t.Helper()
	stopA, stopB := p.a.start(), p.b.start()
	p.a.settle()
	p.b.settle()
	return func() { stopA(); stopB() }
}

// A node that is cut off and comes back has its address again, or never.
func TestFailback(t *testing.T) {
	for _, failback := range []Failback{Immediate, Never} {
		t.Run(failback.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, failback)
				defer p.start(t)()
				first, second := p.owner(t)

				p.leave(first.Node)
				second.members.set(second.Node)
				second.quiesce()
				second.expectAnnounced("192.0.2.1")

				second.members.set("a", "b")
				p.join(first.Node, first.Facts)
				first.quiesce()
				second.quiesce()
				if now, _ := p.owner(t); (now == first) != (failback == Immediate) {
					t.Errorf("%s has the address after %s is back", now.Node, first.Node)
				}
			})
		})
	}
}

// A claim is void when its node is no candidate any more, and stays where it went.
func TestClaimsFollowDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Never)
		p.a.inventory.Drain, p.b.inventory.Drain = lb.DrainMark{Annotation: "drain"}, lb.DrainMark{Annotation: "drain"}
		defer p.start(t)()
		first, second := p.owner(t)
		drained := node(string(first.Node))
		drained.Annotations = map[string]string{"drain": ""}
		for _, s := range []*speaker{p.a, p.b} {
			s.inventory.OnNode(node(string(first.Node)), drained)
		}
		first.quiesce()
		if now, _ := p.owner(t); now != second {
			t.Fatalf("%s has the address while it is drained", now.Node)
		}
		for _, s := range []*speaker{p.a, p.b} {
			s.inventory.OnNode(drained, node(string(first.Node)))
		}
		first.quiesce()
		if now, _ := p.owner(t); now != second {
			t.Errorf("%s has taken the address back", now.Node)
		}
	})
}

// The address goes to the node on its subnet, whoever hears of it when; not with
// --l2-ignore-subnets.
func TestSubnets(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, Immediate)
			p.a.IgnoreSubnets, p.b.IgnoreSubnets = ignore, ignore
			defer p.start(t)()
			first, second := p.owner(t)
			second.links.mu.Lock()
			second.links.snapshot = []link.Interface{{
				Index: 1, Name: "eth0", MAC: [6]byte{2}, Up: true, ARP: true,
				Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.77/24")},
			}}
			second.links.mu.Unlock()
			ring(second.links.changed)
			time.Sleep(time.Second)
			first.quiesce()
			if now, _ := p.owner(t); (now == second) == ignore {
				t.Errorf("ignoring subnets: %t; %s announces, %s is on the subnet", ignore, now.Node, second.Node)
			}
		})
	}
}

// Under failback Never a link that comes back is not used before the others have been
// heard; under Immediate it is at once.
func TestReunion(t *testing.T) {
	for _, failback := range []Failback{Immediate, Never} {
		t.Run(failback.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, failback)
				defer p.start(t)()
				p.a.expectUp(true)
				p.a.flap(1)
				synctest.Wait()
				p.a.expectUp(failback == Immediate)
				p.a.quiesce()
				p.a.expectUp(true)
			})
		})
	}
}

// A speaker that others have missed announces again at once, under failback Never when it
// may have heard what they have taken over.
func TestRenew(t *testing.T) {
	for failback, wait := range map[Failback]time.Duration{Immediate: 0, Never: hearingTime} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, failback)
			defer p.start(t)()
			began := time.Now()
			p.a.Renew()
			time.Sleep(10 * time.Second)
			p.a.layer2.mu.Lock()
			defer p.a.layer2.mu.Unlock()
			if got := p.a.layer2.renewed.Sub(began); got != wait {
				t.Errorf("failback %s: renewed after %s, want %s", &failback, got, wait)
			}
		})
	}
}

// flap has eth0 go down and come back so fast that nobody sees it down.
func (s *speaker) flap(ups uint32) {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.links.snapshot = slices.Clone(s.links.snapshot)
	s.links.snapshot[0].Ups = ups
	ring(s.links.changed)
}

// expectUp says whether layer 2 believes that eth0 is up.
func (s *speaker) expectUp(want bool) {
	s.t.Helper()
	s.layer2.mu.Lock()
	defer s.layer2.mu.Unlock()
	if got := slices.Contains(s.layer2.up, "eth0"); got != want {
		s.t.Errorf("eth0 of %s is up for layer 2: %t, want %t", s.Node, got, want)
	}
}
