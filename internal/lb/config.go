// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Config is everything the administrator said, after Parse: only valid objects,
// in a defined order that does not depend on the order in which they arrived.
type Config struct {
	// Pools are in the order in which automatic assignment tries them:
	// ascending Priority with 0 last, then those with an Allocation before those that
	// serve everyone, then by name.
	Pools []Pool
	// L2Advertisements are sorted by name.
	L2Advertisements []L2Advertisement
	// Peers are sorted by name. Which of them a node has, PeersOn says.
	Peers []Peer
	// BGPAdvertisements are sorted by age, the oldest first: its LocalPref counts.
	BGPAdvertisements []BGPAdvertisement
}

// PoolByName returns the pool with that name.
func (c *Config) PoolByName(name string) (*Pool, bool) {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i], true
		}
	}
	return nil, false
}

// Pool is an IPAddressPool that can be used.
type Pool struct {
	Name    string
	Created time.Time
	Labels  labels.Set
	// Ranges are disjoint from each other and from those of all other pools. They
	// are in the order of spec.addresses, which is the order of assignment. There may
	// be none left, when older pools have them all.
	Ranges []Range
	// AutoAssign permits assignment to Services that did not name the pool.
	AutoAssign bool
	// AvoidBuggyIPs keeps IPv4 addresses ending in .0 and .255 unassigned.
	AvoidBuggyIPs bool
	// Allocation restricts who may have an address of the pool. Nil: everyone.
	Allocation *PoolAllocation
	// Broken marks a pool whose object is present but invalid. It has no ranges: it
	// gives no address, and takes none away from Services that hold one of its.
	Broken bool
}

// PoolAllocation is spec.serviceAllocation of a pool.
type PoolAllocation struct {
	// Priority orders pools that match the same Service, lowest first; 0 is last.
	Priority int
	// Namespaces and NamespaceSelectors are alternatives: one that matches is enough.
	Namespaces         []string
	NamespaceSelectors []labels.Selector
	// ServiceSelectors are alternatives; they restrict in addition to the namespace.
	ServiceSelectors []labels.Selector
}

// Admits reports whether a Service with these labels, in a namespace with that name
// and these labels, may have an address of the pool.
func (p *Pool) Admits(namespace string, namespaceLabels, serviceLabels labels.Set) bool {
	a := p.Allocation
	if a == nil {
		return true
	}
	return a.admitsNamespace(namespace, namespaceLabels) &&
		(len(a.ServiceSelectors) == 0 || AnyMatches(a.ServiceSelectors, serviceLabels))
}

// AdmitsNamespace reports whether some Service in a namespace with that name and these
// labels may have an address of the pool.
func (p *Pool) AdmitsNamespace(name string, ls labels.Set) bool {
	return p.Allocation == nil || p.Allocation.admitsNamespace(name, ls)
}

func (a *PoolAllocation) admitsNamespace(name string, ls labels.Set) bool {
	if len(a.Namespaces) == 0 && len(a.NamespaceSelectors) == 0 {
		return true
	}
	return slices.Contains(a.Namespaces, name) || AnyMatches(a.NamespaceSelectors, ls)
}

// AnyMatches reports whether one of the selectors matches ls.
func AnyMatches(selectors []labels.Selector, ls labels.Set) bool {
	for _, s := range selectors {
		if s.Matches(ls) {
			return true
		}
	}
	return false
}

// L2Advertisement says which addresses are announced over ARP and NDP, by which
// nodes and on which interfaces.
type L2Advertisement struct {
	Name string
	// Pools are the names of all pools the advertisement covers: those it lists,
	// those its selectors match, or every pool when it has neither.
	Pools map[string]struct{}
	// NodeSelectors are alternatives. Empty: every node.
	NodeSelectors []labels.Selector
	// PreferredNodes add their weight to the nodes they match.
	PreferredNodes []PreferredNode
	// Interfaces are exact interface names. Empty: every interface.
	Interfaces []string
	// ServiceSelectors are alternatives. Empty: every Service.
	ServiceSelectors []labels.Selector
}

// PreferredNode is one entry of spec.preferredNodeSelectors.
type PreferredNode struct {
	// Weight is from 1 to 100.
	Weight     int32
	Preference labels.Selector
}
