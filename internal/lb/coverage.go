// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// Coverage says which addresses the configuration lets any node announce, as far as that
// does not depend on nodes. Make one with NewCoverage. It is immutable.
type Coverage struct {
	config *Config
	finder PoolFinder
	// pools are the advertisements of each pool, in the order of the Config.
	pools []poolCoverage
	// rejected are the advertisements that cannot be used.
	rejected []string
}

type poolCoverage struct {
	l2  []*L2Advertisement
	bgp []*BGPAdvertisement
}

// NewCoverage returns the coverage of a configuration with these problems. It keeps the
// Config, which must not be modified afterwards.
func NewCoverage(c *Config, problems []Problem) *Coverage {
	v := &Coverage{config: c, finder: NewPoolFinder(c.Pools), pools: make([]poolCoverage, len(c.Pools))}
	for i := range c.Pools {
		name, p := c.Pools[i].Name, &v.pools[i]
		for j := range c.L2Advertisements {
			if ad := &c.L2Advertisements[j]; covers(ad.Pools, name) {
				p.l2 = append(p.l2, ad)
			}
		}
		for j := range c.BGPAdvertisements {
			if ad := &c.BGPAdvertisements[j]; covers(ad.Pools, name) {
				p.bgp = append(p.bgp, ad)
			}
		}
	}
	for _, p := range problems {
		word := p.Object.Kind + " " + p.Object.Name
		if strings.HasSuffix(p.Object.Kind, "Advertisement") && p.Fatal && !slices.Contains(v.rejected, word) {
			v.rejected = append(v.rejected, word)
		}
	}
	return v
}

func covers(pools map[string]struct{}, name string) bool {
	_, ok := pools[name]
	return ok
}

// Gap returns why no node can announce some of the addresses that a Service with these
// labels has, whatever the nodes are: ReasonNoAdvertisement, or ReasonNoPeer where only
// BGPAdvertisements cover it and tell nobody. The message names address, pool and what is
// in the way. ReasonAnnounced: nothing is.
//
// allocatedFrom is the record of the pools, as Service.AllocatedFrom has it.
func (v *Coverage) Gap(ls labels.Set, addresses []netip.Addr, allocatedFrom string) (Reason, string) {
	record := Service{Addresses: addresses, AllocatedFrom: allocatedFrom}
	reason := ReasonAnnounced
	var messages []string
	for _, a := range addresses {
		i, _, ok := v.finder.Find(a, record.PoolOf(a))
		if !ok {
			continue // it is about to be taken from the Service
		}
		gap, message := v.gap(i, ls, a)
		if gap == ReasonAnnounced {
			continue
		}
		if reason == ReasonAnnounced {
			reason = gap
		}
		messages = append(messages, message)
	}
	return reason, strings.Join(messages, "; ")
}

func (v *Coverage) gap(pool int, ls labels.Set, a netip.Addr) (Reason, string) {
	p := &v.pools[pool]
	selects := func(selectors []labels.Selector) bool { return len(selectors) == 0 || AnyMatches(selectors, ls) }
	var narrow, silent []string
	for _, ad := range p.l2 {
		if selects(ad.ServiceSelectors) {
			return ReasonAnnounced, ""
		}
		narrow = append(narrow, "L2Advertisement "+ad.Name)
	}
	for _, ad := range p.bgp {
		switch {
		case !selects(ad.ServiceSelectors):
			narrow = append(narrow, "BGPAdvertisement "+ad.Name)
		case v.tellsAnybody(ad, FamilyOf(a)):
			return ReasonAnnounced, ""
		default:
			silent = append(silent, "BGPAdvertisement "+ad.Name)
		}
	}
	name := v.config.Pools[pool].Name
	if len(silent) > 0 {
		return ReasonNoPeer, fmt.Sprintf("nobody is told of %s from pool %s: there is no usable BGPPeer that carries %s and that %s tells",
			a, name, FamilyOf(a), alternatives(silent))
	}
	message := fmt.Sprintf("no L2Advertisement or BGPAdvertisement covers %s from pool %s", a, name)
	if len(narrow) > 0 {
		message += fmt.Sprintf("; the serviceSelectors of %s do not select this Service", alternatives(narrow))
	}
	if len(v.rejected) > 0 {
		message += fmt.Sprintf("; invalid, and so left out: %s", strings.Join(v.rejected[:min(5, len(v.rejected))], ", "))
	}
	return ReasonNoAdvertisement, message
}

// tellsAnybody reports whether there is a peer that hears of addresses of the family.
func (v *Coverage) tellsAnybody(ad *BGPAdvertisement, f Family) bool {
	return slices.ContainsFunc(v.config.Peers, func(p Peer) bool { return ad.Tells(p.Name) && p.Carries(f) })
}
