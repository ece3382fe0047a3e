// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// trails are the nodes that have had each address that has moved, the latest first, each
// once. Everybody who has seen the same moves has the same trail, and each node of it passes
// on to the next what it does not know: so whoever has the address reaches all of them, also
// when it comes back by another way than it went.
type trails map[netip.Addr][]lb.NodeName

// moved takes note of a move.
func (t trails) moved(a netip.Addr, from, to lb.NodeName) {
	rest := slices.DeleteFunc(t[a], func(n lb.NodeName) bool { return n == from || n == to })
	t[a] = append([]lb.NodeName{to, from}, rest...)
}

// after returns who had the address before a node that does not have it now; empty if that
// is not known.
func (t trails) after(a netip.Addr, node lb.NodeName) lb.NodeName {
	trail := t[a]
	if i := slices.Index(trail, node); i > 0 && i+1 < len(trail) {
		return trail[i+1]
	}
	return ""
}
