// SPDX-License-Identifier: Apache-2.0

package announce

import (
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

// ahead is how many addresses are decided until the router is told of their paths, so that
// it is not idle meanwhile. Peers hear of them when they have all been said, and not before.
const ahead = 2048

// early advertises by BGP before membership has settled: routes come from objects, and
// other speakers do not matter to them, but for Services that share an address and want
// traffic where their endpoints are, for which every node counts as alive until then.
// The first round finds nothing taken away: all that it does is done again there, and told
// there.
func (l *Loop) early() {
	if l.routes == nil {
		return
	}
	config, _ := l.Inventory.config()
	l.routes.use(plan.Input{Self: l.Node, Config: &config, Nodes: l.nodes, IgnoreExcludeLabel: l.IgnoreExcludeLabel})
	first := l.routes.table.Len() == 0
	for i, a := range l.Inventory.addresses() {
		l.routes.decide(a, l.sharers(a))
		if first && i%ahead == ahead-1 {
			l.routes.advertise()
		}
	}
	l.routes.apply()
}
