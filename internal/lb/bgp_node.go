// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"net/netip"
	"slices"
)

// NodePeers are the peers that one node holds sessions with, and what it is to all of
// them.
type NodePeers struct {
	// Peers are sorted by name. They share labels and profiles with the Config.
	Peers []*Peer
	// ASN is the autonomous system of the node; zero without peers. Peers of a VRF may
	// have been promised another.
	ASN uint32
	// RouterID is the BGP Identifier that a peer asks for. Invalid: none does.
	RouterID netip.Addr
}

// PeersOn returns the peers of a node. Of peers that cannot be had together the older
// ones are, and a problem on the younger says so.
func (c *Config) PeersOn(n *Node) (NodePeers, []Problem) {
	m := meeting{
		node: n.Name, ends: make(map[end]*Peer), systems: make(map[string]*Peer),
	}
	for _, peer := range c.peersByAge() {
		if peer.On(n.Labels) {
			m.admit(peer)
		}
	}
	slices.SortFunc(m.peers.Peers, func(a, b *Peer) int { return cmp.Compare(a.Name, b.Name) })
	return m.peers, m.problems
}

func (c *Config) peersByAge() []*Peer {
	peers := make([]*Peer, len(c.Peers))
	for i := range c.Peers {
		peers[i] = &c.Peers[i]
	}
	slices.SortFunc(peers, func(a, b *Peer) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	return peers
}

// end is the far end of a session.
type end struct {
	vrf, iface string
	address    netip.Addr
}

// meeting is where the peers of one node meet, the oldest first.
type meeting struct {
	node     NodeName
	peers    NodePeers
	problems []Problem
	ends     map[end]*Peer
	// systems are the oldest peers of each VRF, whose MyASN counts.
	systems map[string]*Peer
	// identifier is the oldest peer that asks for a router ID.
	identifier *Peer
}

func (m *meeting) admit(p *Peer) {
	at := end{p.VRF, p.Interface, p.Address}
	if older, ok := m.ends[at]; ok {
		m.refuse(p, "spec.peerAddress", "the older BGPPeer %q has the same address or interface on node %q; "+
			"give them nodeSelectors that do not overlap, or delete one", older.Name, m.node)
		return
	}
	if older, ok := m.systems[p.VRF]; ok && older.MyASN != p.MyASN {
		m.refuse(p, "spec.myASN", "the older BGPPeer %q says that node %q is in AS %d, and not in %d; "+
			"correct one of them, or use localASN to show another number to one peer", older.Name, m.node, older.MyASN, p.MyASN)
		return
	}
	if older := m.identifier; older != nil && p.RouterID.IsValid() && older.RouterID != p.RouterID {
		m.refuse(p, "spec.routerID", "the older BGPPeer %q gives node %q the router ID %s, and a node has only one; "+
			"correct one of them", older.Name, m.node, older.RouterID)
		return
	}
	m.take(at, p)
}

func (m *meeting) take(at end, p *Peer) {
	m.ends[at] = p
	if _, ok := m.systems[p.VRF]; !ok {
		m.systems[p.VRF] = p
	}
	if m.identifier == nil && p.RouterID.IsValid() {
		m.identifier, m.peers.RouterID = p, p.RouterID
	}
	// The main table gives the node its number; a VRF does only if there is nothing else.
	if m.peers.ASN == 0 || p.VRF == "" && m.systems[""] == p {
		m.peers.ASN = p.MyASN
	}
	m.peers.Peers = append(m.peers.Peers, p)
}

func (m *meeting) refuse(p *Peer, field, format string, args ...any) {
	r := report{object: Object{Kind: "BGPPeer", Namespace: p.Namespace, Name: p.Name}}
	r.note(ReasonConflict, field, format, args...)
	m.problems = append(m.problems, r.problems...)
}

// ProblemsOn returns what is wrong with the BGP objects when they meet on these nodes:
// peers that cannot be had together, and advertisements that differ about LOCAL_PREF.
// A problem that several nodes have is told once, about the first of them by name.
func (c *Config) ProblemsOn(nodes []Node) []Problem {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	type matter struct {
		object Object
		field  string
	}
	told := make(map[matter]bool)
	var problems []Problem
	for i := range nodes {
		_, found := c.PeersOn(&nodes[i])
		for _, p := range found {
			if m := (matter{p.Object, p.Field}); !told[m] {
				told[m] = true
				problems = append(problems, p)
			}
		}
	}
	problems = append(problems, c.preferenceConflicts(nodes)...)
	slices.SortStableFunc(problems, func(a, b Problem) int { return compareObject(a.Object, b.Object) })
	return problems
}

// preferenceConflicts finds advertisements that ask for different LOCAL_PREFs for the
// same prefixes towards the same peers. The older one's counts. Two that both select
// Services may never meet on one: what they do is seen when they do.
func (c *Config) preferenceConflicts(nodes []Node) []Problem {
	var problems []Problem
	for j := range c.BGPAdvertisements {
		younger := &c.BGPAdvertisements[j]
		for i := range j {
			older := &c.BGPAdvertisements[i]
			if older.LocalPref == 0 || younger.LocalPref == 0 || older.LocalPref == younger.LocalPref ||
				len(older.ServiceSelectors) > 0 && len(younger.ServiceSelectors) > 0 ||
				!c.meet(older, younger, nodes) {
				continue
			}
			r := report{object: Object{Kind: "BGPAdvertisement", Namespace: younger.Namespace, Name: younger.Name}}
			r.note(ReasonConflict, "spec.localPref", "%d is not what the older BGPAdvertisement %q asks for, which is %d, "+
				"for prefixes that both advertise to the same peers; the older one's counts: make them equal, or tell different peers",
				younger.LocalPref, older.Name, older.LocalPref)
			problems = append(problems, r.problems...)
			break
		}
	}
	return problems
}

// meet reports whether two advertisements can speak of one prefix to one peer.
func (c *Config) meet(a, b *BGPAdvertisement, nodes []Node) bool {
	return c.sharePrefix(a, b) && c.sharePeer(a, b) &&
		slices.ContainsFunc(nodes, func(n Node) bool { return a.On(n.Labels) && b.On(n.Labels) })
}

func (c *Config) sharePrefix(a, b *BGPAdvertisement) bool {
	for i := range c.Pools {
		pool := &c.Pools[i]
		_, inA := a.Pools[pool.Name]
		_, inB := b.Pools[pool.Name]
		if inA && inB && slices.ContainsFunc(pool.Ranges, func(r Range) bool {
			return a.LengthIn(r) == b.LengthIn(r)
		}) {
			return true
		}
	}
	return false
}

func (c *Config) sharePeer(a, b *BGPAdvertisement) bool {
	return slices.ContainsFunc(c.Peers, func(p Peer) bool { return a.Tells(p.Name) && b.Tells(p.Name) })
}
