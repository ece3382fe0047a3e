// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// Verdict is told what is wrong with the configuration as this node sees it.
// configstate.State is.
type Verdict interface {
	Report([]lb.Problem)
}

// tellVerdict says what is wrong with the configuration on this node: what is wrong
// anywhere, but for peers that are not for this node, and what objects do to each other
// here.
func (l *Loop) tellVerdict() {
	if l.Verdict == nil {
		return
	}
	i := slices.IndexFunc(l.nodes, func(n lb.Node) bool { return n.Name == l.Node })
	if i < 0 {
		l.Verdict.Report(l.problems)
		return
	}
	self := &l.nodes[i]
	var here []lb.Problem
	for _, p := range l.problems {
		if p.Object.Kind != "BGPPeer" || l.Inventory.concerns(p.Object.Name, self.Labels) {
			here = append(here, p)
		}
	}
	l.Verdict.Report(append(here, l.config.ProblemsOn([]lb.Node{*self})...))
}

// concerns reports whether the BGPPeer is meant for a node with these labels.
func (v *Inventory) concerns(peer string, node labels.Set) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.bgp.peers[peer]
	return o != nil && lb.Concerns(o, node)
}
