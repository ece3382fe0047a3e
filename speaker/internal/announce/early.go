// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"net/netip"

	"github.com/herald-lb/herald/speaker/internal/plan"
)

// expect tells the router of its peers as soon as the objects about them are known: it
// can dial while Services and endpoints, of which there are many more, are on their way.
func (l *Loop) expect() {
	if l.routes == nil || len(l.Configuration) == 0 {
		return
	}
	config, _ := l.Inventory.config()
	l.routes.use(plan.Input{Self: l.Node, Config: &config, Nodes: l.Inventory.peekNodes(), IgnoreExcludeLabel: l.IgnoreExcludeLabel})
	l.routes.applyPeers(l.routes.Router.Expect)
}

// early advertises by BGP before membership has settled: routes come from objects, and
// other speakers do not matter to them, but for Services that share an address and want
// traffic where their endpoints are, for which every node counts as alive until then.
// The first round finds nothing taken away: all that it does is done again there.
func (l *Loop) early(ctx context.Context) {
	if l.routes == nil {
		return
	}
	config, _ := l.Inventory.config()
	l.routes.use(plan.Input{Self: l.Node, Config: &config, Nodes: l.nodes, IgnoreExcludeLabel: l.IgnoreExcludeLabel})
	addresses := make(map[netip.Addr]struct{})
	l.Inventory.addAddresses(addresses)
	for a := range addresses {
		l.routes.decide(a, l.Inventory.sharers(a))
	}
	l.routes.flush(ctx)
}
