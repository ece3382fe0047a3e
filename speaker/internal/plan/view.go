// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// Input is what a View is made of. NewView keeps parts of it: the values must not
// be modified afterwards.
type Input struct {
	// Self is the node that this speaker runs on.
	Self lb.NodeName
	// Config is the administrator's configuration.
	Config *lb.Config
	// Nodes are all nodes of the cluster, in any order.
	Nodes []lb.Node
	// Members are the nodes whose speakers are alive. Nil: every node counts as
	// alive, which is what running without gossip means.
	Members map[lb.NodeName]struct{}
	// IgnoreExcludeLabel makes nodes with the label
	// node.kubernetes.io/exclude-from-external-load-balancers candidates too.
	IgnoreExcludeLabel bool
	// Interfaces are the names of this node's interfaces. Nil: not known, and then
	// every interface that an advertisement names is taken to exist.
	Interfaces map[string]struct{}
	// Subnets are those that nodes have interfaces in, as far as they have said. A node on
	// the subnet of an address is preferred to others. Nil: the subnet does not count.
	Subnets map[lb.NodeName][]netip.Prefix
}

// View is what a speaker knows besides the Services. It is immutable and safe for
// concurrent use. The zero value is not usable.
type View struct {
	self           lb.NodeName
	nodes          *elect.Nodes
	pools          poolIndex
	advertisements []advertisement
	interfaces     map[string]struct{}
	subnets        subnetIndex
	// able are the nodes that may own addresses at all.
	able elect.Set
}

// advertisement is an L2Advertisement resolved against the nodes.
type advertisement struct {
	services []labels.Selector
	// nodes are those that the advertisement selects and that may be candidates.
	nodes elect.Set
	// weights are what the advertisement adds to the preference of its nodes.
	weights []nodeWeight
	// interfaces are sorted and unique; nil means all.
	interfaces []string
}

type nodeWeight struct {
	node   int
	weight int32
}

// NewView returns the view of in. Its cost grows with nodes times advertisements.
func NewView(in Input) *View {
	names := make([]lb.NodeName, len(in.Nodes))
	for i := range in.Nodes {
		names[i] = in.Nodes[i].Name
	}
	v := &View{
		self:           in.Self,
		nodes:          elect.NewNodes(names),
		pools:          newPoolIndex(in.Config),
		advertisements: make([]advertisement, len(in.Config.L2Advertisements)),
		interfaces:     in.Interfaces,
	}
	v.subnets = newSubnetIndex(v.nodes, in.Subnets)
	candidates := in.candidates()
	v.able = v.nodes.None()
	for _, n := range candidates {
		index, _ := v.nodes.Index(n.Name)
		v.able.Add(index)
	}
	for i := range in.Config.L2Advertisements {
		v.advertisements[i] = v.resolve(&in.Config.L2Advertisements[i], candidates)
	}
	return v
}

// candidates returns the nodes that may own an address at all: those with a live
// speaker and no gate. A member that is no Node object is none of them.
func (in *Input) candidates() []*lb.Node {
	var ns []*lb.Node
	for i := range in.Nodes {
		n := &in.Nodes[i]
		alive := true
		if in.Members != nil {
			_, alive = in.Members[n.Name]
		}
		excluded := n.Excluded && !in.IgnoreExcludeLabel
		if alive && !excluded && !n.NetworkUnavailable && !n.Draining {
			ns = append(ns, n)
		}
	}
	return ns
}

func (v *View) resolve(ad *lb.L2Advertisement, candidates []*lb.Node) advertisement {
	resolved := advertisement{services: ad.ServiceSelectors, nodes: v.nodes.None()}
	if len(ad.Interfaces) > 0 {
		resolved.interfaces = slices.Clone(ad.Interfaces)
		slices.Sort(resolved.interfaces)
		resolved.interfaces = slices.Compact(resolved.interfaces)
	}
	for _, n := range candidates {
		if len(ad.NodeSelectors) > 0 && !lb.AnyMatches(ad.NodeSelectors, n.Labels) {
			continue
		}
		index, _ := v.nodes.Index(n.Name)
		resolved.nodes.Add(index)
		if w := preference(ad.PreferredNodes, n.Labels); w != 0 {
			resolved.weights = append(resolved.weights, nodeWeight{index, w})
		}
	}
	return resolved
}

// preference sums the weights of the entries that match a node's labels.
func preference(preferred []lb.PreferredNode, ls labels.Set) int32 {
	var sum int32
	for _, p := range preferred {
		if p.Preference.Matches(ls) {
			sum += p.Weight
		}
	}
	return sum
}

func (a *advertisement) covers(service labels.Set) bool {
	return len(a.services) == 0 || lb.AnyMatches(a.services, service)
}
