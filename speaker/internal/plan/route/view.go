// SPDX-License-Identifier: Apache-2.0

package route

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// Input is what a View is made of. NewView keeps parts of it: the values must not be
// modified afterwards.
type Input struct {
	// Config is the administrator's configuration.
	Config *lb.Config
	// Node is the node that this speaker runs on. Nil: it is not known, and advertises
	// nothing.
	Node *lb.Node
	// Nodes are all nodes of the cluster. They matter to Services that share an address
	// and want traffic only where their endpoints are. Nil: they are not known, and each
	// may advertise.
	Nodes []lb.Node
	// Members are the nodes whose speakers are alive, for the same end. Nil: all are.
	Members map[lb.NodeName]struct{}
	// Drained says that the node has handed its traffic over, after Draining: it advertises
	// nothing any more.
	Drained bool
	// IgnoreExcludeLabel lets a node advertise that has the label
	// node.kubernetes.io/exclude-from-external-load-balancers.
	IgnoreExcludeLabel bool
}

// View is what a speaker knows besides the Services. It is immutable and safe for
// concurrent use. The zero value is not usable.
type View struct {
	self lb.NodeName
	// gate is why this node may not advertise anything; ReasonAnnounced if it may.
	gate     lb.Reason
	peers    lb.NodePeers
	routerID netip.Addr
	problems []lb.Problem
	finder   lb.PoolFinder
	// pools are the advertisements that cover each pool, as ascending indexes. Pools
	// are in the order of the Config.
	pools [][]int
	// advertisements are in the order of the Config, which is that of their age.
	advertisements []advertisement
	// nodes are those alive that no gate keeps from advertising. Nil: they are not known.
	nodes map[lb.NodeName]*lb.Node
	// allPeers are those of all nodes.
	allPeers []lb.Peer
}

// advertisement is a BGPAdvertisement resolved against this node.
type advertisement struct {
	*lb.BGPAdvertisement
	// selected says that it selects this node.
	selected bool
	// told4 and told6 are the peers of this node that it tells and that carry the
	// family, as ascending indexes.
	told4, told6 []int
	// lengths are those of prefixes in the ranges of its pools, if it aggregates.
	lengths map[lb.Range]int
}

// NewView returns the view of in.
func NewView(in Input) *View {
	v := &View{
		gate: gate(in), finder: lb.NewPoolFinder(in.Config.Pools),
		pools:          make([][]int, len(in.Config.Pools)),
		advertisements: make([]advertisement, len(in.Config.BGPAdvertisements)),
		nodes:          in.able(), allPeers: in.Config.Peers,
	}
	var ls labels.Set
	if in.Node != nil {
		v.self, ls = in.Node.Name, in.Node.Labels
		v.peers, v.problems = in.Config.PeersOn(in.Node)
		v.routerID = routerID(v.peers.RouterID, in.Node)
	}
	for i := range in.Config.BGPAdvertisements {
		ad := advertisement{BGPAdvertisement: &in.Config.BGPAdvertisements[i]}
		ad.selected = ad.On(ls)
		ad.told4, ad.told6 = v.told(ad.BGPAdvertisement, lb.IPv4), v.told(ad.BGPAdvertisement, lb.IPv6)
		ad.lengths = lengths(in.Config, ad.BGPAdvertisement)
		v.advertisements[i] = ad
	}
	for i := range in.Config.Pools {
		for j := range v.advertisements {
			if _, ok := v.advertisements[j].Pools[in.Config.Pools[i].Name]; ok {
				v.pools[i] = append(v.pools[i], j)
			}
		}
	}
	return v
}

func gate(in Input) lb.Reason {
	if in.Node == nil || in.Drained || in.gated(in.Node) {
		return lb.ReasonNodeExcluded
	}
	return lb.ReasonAnnounced
}

func (in *Input) gated(n *lb.Node) bool {
	return n.NetworkUnavailable || n.Excluded && !in.IgnoreExcludeLabel
}

func (in *Input) self() lb.NodeName {
	if in.Node == nil {
		return ""
	}
	return in.Node.Name
}

// able returns the live nodes that no gate keeps from advertising, by name.
func (in *Input) able() map[lb.NodeName]*lb.Node {
	if in.Nodes == nil {
		return nil
	}
	able := make(map[lb.NodeName]*lb.Node, len(in.Nodes))
	for i := range in.Nodes {
		n := &in.Nodes[i]
		alive := true
		if in.Members != nil {
			_, alive = in.Members[n.Name]
		}
		// A node that is draining advertises for some time more, but is not counted on: only
		// it knows for how long.
		leaving := n.Draining && (in.Drained || n.Name != in.self())
		if alive && !leaving && !in.gated(n) {
			able[n.Name] = n
		}
	}
	return able
}

// told returns the peers of this node that hear of addresses of the family.
func (v *View) told(ad *lb.BGPAdvertisement, f lb.Family) []int {
	var told []int
	for i, p := range v.peers.Peers {
		if ad.Tells(p.Name) && p.Carries(f) {
			told = append(told, i)
		}
	}
	return told
}

// lengths returns the lengths of the prefixes in the ranges of the pools; nil if they
// are the addresses themselves everywhere.
func lengths(c *lb.Config, ad *lb.BGPAdvertisement) map[lb.Range]int {
	if ad.Aggregation4 == 32 && ad.Aggregation6 == 128 {
		return nil
	}
	found := make(map[lb.Range]int)
	for i := range c.Pools {
		if _, ok := ad.Pools[c.Pools[i].Name]; !ok {
			continue
		}
		for _, r := range c.Pools[i].Ranges {
			found[r] = ad.LengthIn(r)
		}
	}
	return found
}

// Peers returns the peers that this node is to hold sessions with. They must not be
// modified.
func (v *View) Peers() lb.NodePeers { return v.peers }

// RouterID returns this node's BGP Identifier; invalid if the node is not known.
func (v *View) RouterID() netip.Addr { return v.routerID }

// routerID returns the BGP Identifier that a peer asks for, or the node's first IPv4
// address, or else a number made of the node's name: all that the number has to be is
// not zero and another than those of the routers it meets (RFC 6286).
func routerID(wanted netip.Addr, n *lb.Node) netip.Addr {
	if wanted.IsValid() {
		return wanted
	}
	for _, a := range n.Addresses {
		if a.Is4() {
			return a
		}
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(n.Name)) // never fails, says hash.Hash
	var id [4]byte
	binary.BigEndian.PutUint32(id[:], hash.Sum32()|1)
	return netip.AddrFrom4(id)
}

// Problems returns why peers that select this node are not among Peers. They must not
// be modified.
func (v *View) Problems() []lb.Problem { return v.problems }

// told returns the peers that are told addresses of the family.
func (a *advertisement) told(f lb.Family) []int {
	if f == lb.IPv4 {
		return a.told4
	}
	return a.told6
}

func (a *advertisement) covers(service labels.Set) bool {
	return len(a.ServiceSelectors) == 0 || lb.AnyMatches(a.ServiceSelectors, service)
}

// length returns the length of the prefix for an address in that range of a pool. Of a
// broken pool the ranges are not known; what was aggregated stays so.
func (a *advertisement) length(f lb.Family, entry lb.Range) int {
	if length, ok := a.lengths[entry]; ok {
		return length
	}
	return a.Aggregation(f)
}

// narrow returns those of the indexes that keep says to keep. It never modifies them
// and may return them.
func narrow(indexes []int, keep func(int) bool) []int {
	drop := func(i int) bool { return !keep(i) }
	if !slices.ContainsFunc(indexes, drop) {
		return indexes
	}
	return slices.DeleteFunc(slices.Clone(indexes), drop)
}
