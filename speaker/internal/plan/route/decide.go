// SPDX-License-Identifier: Apache-2.0

package route

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// Verdict is what becomes of one address.
type Verdict struct {
	// Claims are what the address wants advertised, sorted and unique.
	Claims []Claim
	// Decisions has one entry for each sharer, in the order in which they were given.
	Decisions []Decision
}

// Claim is a prefix that an address wants advertised, in the manner of an
// advertisement. It is comparable, and means something to the View that made it only.
type Claim struct {
	Prefix        netip.Prefix
	advertisement int
}

func (c Claim) compare(o Claim) int {
	return cmp.Or(c.Prefix.Compare(o.Prefix), cmp.Compare(c.advertisement, o.advertisement))
}

// Decision says what becomes of one address of one Service, and why.
type Decision struct {
	Service lb.ServiceName
	Address netip.Addr
	// Peers are the names of the peers that are told, sorted.
	Peers []string
	// Overruled are the advertisements of the Service whose LOCAL_PREF does not count,
	// because an older one that tells the same peer of the same prefix has another.
	Overruled []string
	// Reason is the cause as seen from this node.
	Reason lb.Reason
	// Tell has this node tell users of the Reason: every node sees lb.ReasonNoCommonNode,
	// and one is to speak of it.
	Tell bool
}

// Decide returns the verdict on an address held by the sharers. It does not keep them.
func (v *View) Decide(address netip.Addr, sharers []plan.Sharer) Verdict {
	verdict := Verdict{Decisions: make([]Decision, len(sharers))}
	common := v.commonNodes(address, sharers)
	for i := range sharers {
		d := &verdict.Decisions[i]
		d.Service, d.Address = sharers[i].Service.Name, address
		var claims []Claim
		claims, d.Reason = v.claims(address, &sharers[i])
		claims, d.Reason = common.restrict(i, v.self, claims, d.Reason)
		d.Tell = d.Reason == lb.ReasonNoCommonNode && common.spokesman(v.self)
		d.Peers = v.peersOf(claims, address)
		d.Overruled = v.overruled(claims)
		verdict.Claims = append(verdict.Claims, claims...)
	}
	slices.SortFunc(verdict.Claims, Claim.compare)
	verdict.Claims = slices.Compact(verdict.Claims)
	return verdict
}

// claims returns what one Service wants advertised for its address, or why nothing.
func (v *View) claims(address netip.Addr, s *plan.Sharer) ([]Claim, lb.Reason) {
	pool, entry, ok := v.finder.Find(address, s.Service.PoolOf(address))
	if !ok {
		return nil, lb.ReasonOutsidePools
	}
	covering := v.covering(pool, s.Service)
	if len(covering) == 0 {
		return nil, lb.ReasonNoAdvertisement
	}
	if !s.Endpoints.Any() {
		return nil, lb.ReasonNoEndpoints
	}
	if v.gate != lb.ReasonAnnounced {
		return nil, v.gate
	}
	here := narrow(covering, func(ad int) bool { return v.advertisements[ad].selected })
	if len(here) == 0 {
		return nil, lb.ReasonNodeNotSelected
	}
	if s.Service.Local && !s.Endpoints.On(v.self) {
		return nil, lb.ReasonNoLocalEndpoints
	}
	family := lb.FamilyOf(address)
	heard := narrow(here, func(ad int) bool { return len(v.advertisements[ad].told(family)) > 0 })
	if len(heard) == 0 {
		return nil, lb.ReasonNoPeer
	}
	claims := make([]Claim, len(heard))
	for i, ad := range heard {
		prefix, err := address.Prefix(v.advertisements[ad].length(family, entry))
		if err != nil {
			panic("route: " + err.Error()) // Parse admits no such length.
		}
		claims[i] = Claim{prefix, ad}
	}
	return claims, lb.ReasonAnnounced
}

// covering returns the advertisements of the pool that cover the Service.
func (v *View) covering(pool int, s *lb.Service) []int {
	return narrow(v.pools[pool], func(ad int) bool { return v.advertisements[ad].covers(s.Labels) })
}

// peersOf returns the names of the peers that hear of the claims.
func (v *View) peersOf(claims []Claim, address netip.Addr) []string {
	var told []int
	for _, c := range claims {
		told = union(told, v.advertisements[c.advertisement].told(lb.FamilyOf(address)))
	}
	return v.names(told)
}

// names returns the names of peers, in their order, which is by name.
func (v *View) names(peers []int) []string {
	if len(peers) == 0 {
		return nil
	}
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = v.peers.Peers[p].Name
	}
	return names
}

// overruled returns the advertisements among the claims of one address whose LOCAL_PREF
// does not count, sorted. Claims are by age of their advertisements.
func (v *View) overruled(claims []Claim) []string {
	var names []string
	for i, younger := range claims {
		for _, older := range claims[:i] {
			if older.Prefix == younger.Prefix && v.disagree(older, younger) {
				names = append(names, v.advertisements[younger.advertisement].Name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// disagree reports whether two advertisements want to tell one peer two LOCAL_PREFs.
func (v *View) disagree(older, younger Claim) bool {
	a, b := &v.advertisements[older.advertisement], &v.advertisements[younger.advertisement]
	if a.LocalPref == 0 || b.LocalPref == 0 || a.LocalPref == b.LocalPref {
		return false
	}
	family := lb.FamilyOf(older.Prefix.Addr())
	return slices.ContainsFunc(b.told(family), func(p int) bool { return slices.Contains(a.told(family), p) })
}

// union merges two ascending slices without repetition. It never modifies them and may
// return one of them.
func union[T cmp.Ordered](a, b []T) []T {
	if len(a) == 0 || slices.Equal(a, b) {
		return b
	}
	merged := slices.Concat(a, b)
	slices.Sort(merged)
	return slices.Compact(merged)
}
