// SPDX-License-Identifier: Apache-2.0

package route

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// common says on which nodes an address suits all Services that share it, as far as
// externalTrafficPolicy Local sets bounds: a router that sends the traffic of one to a
// node sends that of all others there, too.
type common struct {
	// nodes are those nodes. Nil: there are no bounds.
	nodes map[lb.NodeName]struct{}
	// left are the sharers that have no node in common with the older ones, by index.
	left map[int]bool
}

// commonNodes goes through the sharers, the oldest first, and leaves out those who have no
// node in common with those before, exactly as the election of Layer 2 does. All speakers
// find the same, because it does not matter which of them asks.
func (v *View) commonNodes(address netip.Addr, sharers []plan.Sharer) common {
	var c common
	bounded := func(s plan.Sharer) bool { return s.Service.Local }
	if len(sharers) < 2 || !slices.ContainsFunc(sharers, bounded) {
		return c
	}
	for _, i := range oldestFirst(sharers) {
		s := &sharers[i]
		if !s.Service.Local {
			continue
		}
		nodes := v.suitable(address, s)
		if len(nodes) == 0 {
			continue // It has nothing to advertise, and no part in this.
		}
		if c.nodes == nil {
			c.nodes = nodes
			continue
		}
		both := intersect(c.nodes, nodes)
		if len(both) > 0 {
			c.nodes = both
			continue
		}
		if c.left == nil {
			c.left = make(map[int]bool)
		}
		c.left[i] = true
	}
	return c
}

// oldestFirst returns the indexes of sharers in the order in which they prevail.
func oldestFirst(sharers []plan.Sharer) []int {
	order := make([]int, len(sharers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return lb.CompareAge(sharers[i].Service, sharers[j].Service) })
	return order
}

// suitable returns the nodes that could advertise the address for a Service with
// externalTrafficPolicy Local.
func (v *View) suitable(address netip.Addr, s *plan.Sharer) map[lb.NodeName]struct{} {
	pool, _, ok := v.finder.Find(address, s.Service.PoolOf(address))
	if !ok {
		return nil
	}
	covering := v.covering(pool, s.Service)
	nodes := make(map[lb.NodeName]struct{}, len(s.Endpoints.Nodes))
	for name := range s.Endpoints.Nodes {
		if v.advertises(name, covering, lb.FamilyOf(address)) {
			nodes[name] = struct{}{}
		}
	}
	return nodes
}

// advertises reports whether one of the advertisements has a node advertise addresses of
// the family. Sessions that fail are not seen from elsewhere, and do not count.
func (v *View) advertises(name lb.NodeName, covering []int, f lb.Family) bool {
	if v.nodes == nil {
		return true
	}
	n, ok := v.nodes[name]
	return ok && slices.ContainsFunc(covering, func(ad int) bool {
		a := v.advertisements[ad].BGPAdvertisement
		tells := func(p lb.Peer) bool { return p.On(n.Labels) && p.Carries(f) && a.Tells(p.Name) }
		return a.On(n.Labels) && slices.ContainsFunc(v.allPeers, tells)
	})
}

// restrict changes the decision on a sharer according to what all of them have in common.
func (c *common) restrict(i int, self lb.NodeName, claims []Claim, reason lb.Reason) ([]Claim, lb.Reason) {
	if c.nodes == nil || reason != lb.ReasonAnnounced && reason != lb.ReasonNoLocalEndpoints {
		return claims, reason
	}
	if c.left[i] {
		return nil, lb.ReasonNoCommonNode
	}
	if _, ok := c.nodes[self]; !ok && reason == lb.ReasonAnnounced {
		return nil, lb.ReasonSharerElsewhere
	}
	return claims, reason
}

// spokesman reports whether self is the one node that tells users about those left out:
// the first by name of those that advertise the address for the others.
func (c *common) spokesman(self lb.NodeName) bool {
	if _, ok := c.nodes[self]; !ok {
		return false
	}
	for name := range c.nodes {
		if name < self {
			return false
		}
	}
	return true
}

func intersect(a, b map[lb.NodeName]struct{}) map[lb.NodeName]struct{} {
	both := make(map[lb.NodeName]struct{})
	for name := range a {
		if _, ok := b[name]; ok {
			both[name] = struct{}{}
		}
	}
	return both
}
