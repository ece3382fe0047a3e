// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
)

// subnetIndex finds the nodes that have an interface in the subnet of an address.
type subnetIndex struct {
	// near has, for each subnet, the nodes in it and in the wider ones around it.
	near map[netip.Prefix]elect.Set
	// lengths of the subnets of each family, the longest first.
	lengths4, lengths6 []int
}

func newSubnetIndex(nodes *elect.Nodes, subnets map[lb.NodeName][]netip.Prefix) subnetIndex {
	x := subnetIndex{near: make(map[netip.Prefix]elect.Set)}
	for name, prefixes := range subnets {
		node, ok := nodes.Index(name)
		if !ok {
			continue
		}
		for _, p := range prefixes {
			if IsSubnet(p) {
				x.add(nodes, p.Masked(), node)
			}
		}
	}
	x.nest()
	return x
}

// IsSubnet says whether a prefix of an interface holds more than the interface's own
// address, and leads anywhere: link-local ones are on every link.
func IsSubnet(p netip.Prefix) bool {
	return p.IsValid() && !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsLoopback()
}

func (x *subnetIndex) add(nodes *elect.Nodes, subnet netip.Prefix, node int) {
	set, ok := x.near[subnet]
	if !ok {
		set = nodes.None()
		x.near[subnet] = set
		lengths := x.lengths(subnet.Addr())
		if !slices.Contains(*lengths, subnet.Bits()) {
			*lengths = append(*lengths, subnet.Bits())
		}
	}
	set.Add(node)
}

func (x *subnetIndex) lengths(a netip.Addr) *[]int {
	if a.Is4() {
		return &x.lengths4
	}
	return &x.lengths6
}

// nest adds to each subnet the nodes of those around it, from the widest inwards, so
// that the narrowest that holds an address says it all.
func (x *subnetIndex) nest() {
	descending := func(a, b int) int { return cmp.Compare(b, a) }
	slices.SortFunc(x.lengths4, descending)
	slices.SortFunc(x.lengths6, descending)
	for subnet, set := range x.near {
		for _, length := range *x.lengths(subnet.Addr()) {
			if length < subnet.Bits() {
				around, _ := subnet.Addr().Prefix(length) // shorter than the subnet's own
				set.Union(x.near[around])
			}
		}
	}
}

// nodesNear returns the nodes on the subnet of an address. It must not be modified.
func (x *subnetIndex) nodesNear(a netip.Addr) elect.Set {
	for _, length := range *x.lengths(a) {
		subnet, _ := a.Prefix(length) // of the address's own family
		if set, ok := x.near[subnet]; ok {
			return set
		}
	}
	return nil
}
