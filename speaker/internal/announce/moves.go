// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// decided is a verdict that is to be applied.
type decided struct {
	address netip.Addr
	verdict plan.Verdict
}

// passages say through which nodes the connections of addresses pass.
type passages map[netip.Addr]lb.NodeName

// keepConnections has packets of connections passed on to the nodes that had addresses
// which come here, before anybody is told that they do, and on from here to where those
// of addresses are that go. What it returns does the rest, for addresses that others have
// and get: that has time until this node's own are announced.
func (l *Loop) keepConnections(round []decided) (rest func()) {
	if !l.keepsConnections() {
		return func() {}
	}
	var came []netip.Addr
	keeping := l.Connections.keeping()
	from, on, gone := make(passages), make(passages), make(passages)
	onElsewhere, back := make(passages), make(passages)
	for i := range round {
		a, v := round[i].address, &round[i].verdict
		rec := l.reporter.records[a]
		owner := rec.owner()
		switch {
		case v.Owner == "":
			delete(l.trails, a)
		case owner != "" && owner != v.Owner:
			l.trails.moved(a, owner, v.Owner)
		}
		after := l.trails.after(a, l.Node)
		switch {
		case v.Announce && rec.announced:
		case v.Announce && owner != "":
			from[a] = owner
		case v.Announce:
			came = append(came, a)
		case after != "" && rec.announced:
			on[a] = after
		case after != "":
			onElsewhere[a] = after
		case rec.announced:
			gone[a] = v.Owner
		case keeping && l.Connections.keeps(a):
			back[a] = v.Owner
		}
	}
	if !l.ready.Load() { // nothing has been decided here yet, but what others have they claim
		from = l.claimedBy(l.others(), came)
	}
	l.Connections.take(l.hops(from))
	l.Connections.lead(l.hops(on))
	l.Connections.giveAway(l.hops(gone))
	return func() {
		l.Connections.lead(l.hops(onElsewhere))
		l.Connections.giveBack(l.hops(back))
	}
}

// renew announces everything again: others have missed this node, and may have taken over
// what it has.
func (l *Loop) renew() {
	if l.keepsConnections() {
		var here []netip.Addr
		for a, rec := range l.reporter.records {
			if rec.announced {
				here = append(here, a)
			}
		}
		l.Connections.take(l.hops(l.tookOver(here)))
	}
	l.release()
	l.Layer2.Renew()
}

func (l *Loop) keepsConnections() bool { return l.Connections != nil && l.Members != nil }

// others are the members without this node, in a map of the caller's own.
func (l *Loop) others() map[lb.NodeName]struct{} {
	others := l.Members.Alive()
	delete(others, l.Node)
	return others
}

// claimedBy returns which of those nodes claim the addresses, where their claims count.
func (l *Loop) claimedBy(nodes map[lb.NodeName]struct{}, addresses []netip.Addr) passages {
	claimed := make(passages)
	for _, a := range addresses {
		_, holder := l.claimantsAmong(a, nodes)
		if _, ok := nodes[holder]; ok {
			claimed[a] = holder
		}
	}
	return claimed
}

// tookOver returns who has taken over the addresses of this node, which others have missed:
// whoever claims them. What was taken over a moment ago may not have been heard of. Under
// failback Never that has been waited for; else it is whoever would have done so, but not
// where that would end what is passed on by right.
func (l *Loop) tookOver(addresses []netip.Addr) passages {
	by := l.claimedBy(l.others(), addresses)
	if l.Failback == Never {
		return by
	}
	if len(addresses) == 0 {
		return by
	}
	owners := l.ownersInAbsence()
	for _, a := range addresses {
		if by[a] == "" && !l.Connections.keeps(a) {
			by[a] = owners[a]
		}
	}
	return by
}

// ownersInAbsence returns who has each address as long as this node does not take part.
func (l *Loop) ownersInAbsence() map[netip.Addr]lb.NodeName {
	in := l.input()
	in.Members = l.others()
	if len(in.Members) == 0 {
		return nil
	}
	absence := plan.NewOwnership()
	absence.Use(plan.NewView(in))
	for _, a := range l.Inventory.addresses() {
		home, holder := l.claimantsAmong(a, in.Members)
		absence.Put(a, l.sharers(a), home, holder)
	}
	owners := make(map[netip.Addr]lb.NodeName)
	for a, v := range absence.Settle(l.sharers) {
		owners[a] = v.Owner
	}
	return owners
}

// hops returns the addresses of those nodes, of the same family and on a link of this one,
// and leaves out what has none.
func (l *Loop) hops(nodes passages) map[netip.Addr]netip.Addr {
	type family struct {
		node lb.NodeName
		is4  bool
	}
	known, hops := make(map[family]netip.Addr), make(map[netip.Addr]netip.Addr, len(nodes))
	for a, node := range nodes {
		f := family{node, a.Is4()}
		hop, ok := known[f]
		if !ok {
			hop = l.hopTo(node, f.is4)
			known[f] = hop
		}
		if hop.IsValid() {
			hops[a] = hop
		}
	}
	return hops
}

// hopTo returns an address of another node that is on a link of this one; none if it has
// none.
func (l *Loop) hopTo(node lb.NodeName, is4 bool) netip.Addr {
	if node == "" || node == l.Node {
		return netip.Addr{}
	}
	for _, hop := range l.addressesOfNode(node) {
		if hop.Is4() == is4 && l.onLink(hop) {
			return hop
		}
	}
	return netip.Addr{}
}

// onLink says whether an address is in a subnet of an interface that this node announces on.
func (l *Loop) onLink(a netip.Addr) bool {
	return contains(l.subnetsOn(l.announcesOn), a)
}

func (l *Loop) announcesOn(name string) bool {
	_, ok := l.interfaces[name]
	return ok
}
