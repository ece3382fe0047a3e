// SPDX-License-Identifier: Apache-2.0

package layer2

import "net/netip"

// groups keeps the solicited-node groups of a set of addresses joined. Addresses
// that end alike share a group.
type groups struct {
	members Memberships
	joined  map[netip.Addr]struct{} // addresses whose group is joined
	users   map[netip.Addr]int      // groups, and the number of addresses in each
}

func newGroups(m Memberships) *groups {
	return &groups{members: m, joined: make(map[netip.Addr]struct{}), users: make(map[netip.Addr]int)}
}

// join joins the group of an address. To join again is success.
func (g *groups) join(a netip.Addr) error {
	if _, ok := g.joined[a]; ok {
		return nil
	}
	group := netip.AddrFrom16(solicitedNode(a.As16()))
	if g.users[group] == 0 {
		if err := g.members.Join(group); err != nil {
			return err
		}
	}
	g.joined[a] = struct{}{}
	g.users[group]++
	return nil
}

// leave leaves the group of an address if no other one needs it. To leave what
// was not joined is success.
func (g *groups) leave(a netip.Addr) error {
	if _, ok := g.joined[a]; !ok {
		return nil
	}
	delete(g.joined, a)
	group := netip.AddrFrom16(solicitedNode(a.As16()))
	g.users[group]--
	if g.users[group] > 0 {
		return nil
	}
	delete(g.users, group)
	return g.members.Leave(group)
}
