// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// subject is an address that this node is next in line for, and where its owner would
// hear a question about it.
type subject struct {
	layer2.Announcement
	owner lb.NodeName
}

func (s *subject) equal(o *subject) bool {
	return s.Address == o.Address && s.owner == o.owner && slices.Equal(s.Interfaces, o.Interfaces)
}

// witnessesEnough is how many stations are asked for in order to know that one is heard.
const witnessesEnough = 3

// nextInLine returns those of the addresses that this node would announce if their owners'
// speakers were gone, and that it shares a link with the owner for.
func (l *Loop) nextInLine(addresses []netip.Addr) []subject {
	if l.Facts == nil || l.handovers.departing {
		return nil
	}
	subnets := l.Facts.subnets()
	var subjects []subject
	for _, a := range addresses {
		rec := l.reporter.records[a]
		owner := rec.owner()
		heir := l.ownership.Heir(a)
		_, leaving := l.handovers.leaving[a]
		if owner == "" || owner == l.Node || leaving || heir != "" && heir != l.Node {
			continue
		}
		v := l.ownership.Bequest(a, l.sharers(a))
		if !v.Announce {
			continue
		}
		both := func(i string) bool { return among(v.Interfaces, i) && among(rec.interfaces, i) }
		if where := l.linksWith(owner, subnets[owner], a, both); len(where) > 0 {
			subjects = append(subjects, subject{layer2.Announcement{Address: a, Interfaces: where}, owner})
		}
	}
	return subjects
}

// among says whether an interface is one of those, of which none means all.
func among(interfaces []string, name string) bool {
	return interfaces == nil || slices.Contains(interfaces, name)
}

// linksWith returns the interfaces that lead to the owner of an address: those in a subnet
// of both nodes that holds the address. Where there is none, it is those in a subnet of
// both that the owner's own address is from: equal subnets alone may be anywhere.
func (l *Loop) linksWith(owner lb.NodeName, theirs []netip.Prefix, a netip.Addr, allowed func(string) bool) []string {
	var near, same []string
	for _, i := range l.Links.Snapshot() {
		if !l.announcesOn(i.Name) || !allowed(i.Name) {
			continue
		}
		for _, p := range subnetsOf(&i) {
			switch {
			case !slices.Contains(theirs, p):
			case p.Contains(a):
				near = append(near, i.Name)
			case slices.ContainsFunc(l.addressesOfNode(owner), p.Contains):
				same = append(same, i.Name)
			}
		}
	}
	if len(near) == 0 {
		near = same
	}
	slices.Sort(near)
	return slices.Compact(near)
}

func subnetsOf(i *link.Interface) []netip.Prefix {
	var subnets []netip.Prefix
	for _, p := range i.Prefixes {
		if plan.IsSubnet(p) {
			subnets = append(subnets, p.Masked())
		}
	}
	return subnets
}

// subnetsOn returns the subnets of those interfaces.
func (l *Loop) subnetsOn(those func(name string) bool) []netip.Prefix {
	var subnets []netip.Prefix
	for _, i := range l.Links.Snapshot() {
		if those(i.Name) {
			subnets = append(subnets, subnetsOf(&i)...)
		}
	}
	return subnets
}

func contains(subnets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (l *Loop) addressesOfNode(name lb.NodeName) []netip.Addr {
	i := slices.IndexFunc(l.nodes, func(n lb.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return l.nodes[i].Addresses
}

// witnesses returns addresses of live nodes that the kernels there answer for on the links
// of the subject, the owner's first: who hears one of them is heard.
func (l *Loop) witnesses(s subject) []layer2.Announcement {
	subnets := l.subnetsOn(func(i string) bool { return slices.Contains(s.Interfaces, i) })
	var found []layer2.Announcement
	take := func(addresses []netip.Addr) {
		for _, a := range addresses {
			if len(found) < witnessesEnough && contains(subnets, a) {
				found = append(found, layer2.Announcement{Address: a, Interfaces: s.Interfaces})
			}
		}
	}
	take(l.addressesOfNode(s.owner))
	alive := l.Members.Alive()
	for i := range l.nodes {
		n := &l.nodes[i]
		if _, ok := alive[n.Name]; ok && n.Name != l.Node && n.Name != s.owner {
			take(n.Addresses)
		}
	}
	return found
}
