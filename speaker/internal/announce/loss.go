// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// losses returns the members that have gone, and whether that is all that has happened.
func losses(before, now map[lb.NodeName]struct{}) (gone []lb.NodeName, only bool) {
	for name := range before {
		if _, ok := now[name]; !ok {
			gone = append(gone, name)
		}
	}
	return gone, now != nil && len(before)-len(gone) == len(now)
}

// lose takes members out of the ownership, and adds the addresses that it has to be told
// of again to set.
func (l *Loop) lose(in plan.Input, gone []lb.NodeName, set map[netip.Addr]struct{}) {
	again := l.ownership.Lose(plan.NewView(in), gone, func(a netip.Addr) []lb.NodeName {
		home, holder := l.claimants(a)
		return []lb.NodeName{home, holder}
	})
	for _, a := range again {
		set[a] = struct{}{}
	}
	l.Inventory.addShared(set)
}

// reroute decides the routes of all addresses again, if there are any.
func (l *Loop) reroute(in plan.Input) {
	if l.routes == nil || len(in.Config.Peers)+len(in.Config.BGPAdvertisements) == 0 {
		return
	}
	l.routes.use(in)
	for _, a := range l.Inventory.addresses() {
		l.routes.decide(a, l.sharers(a))
	}
}
