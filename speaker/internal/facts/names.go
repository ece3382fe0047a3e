// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"math"

	"github.com/herald-lb/herald/internal/lb"
)

// index stands for a name where there are many: 0 for none.
type index uint16

// names numbers names, from 1 on, and forgets none. Those that it has no room for, after
// tens of thousands of nodes, are none. The zero value is empty.
type names struct {
	known   []lb.NodeName
	indices map[lb.NodeName]index
}

func (n *names) index(name lb.NodeName) index {
	i, ok := n.indices[name]
	if ok || name == "" || len(n.known) == math.MaxUint16 {
		return i
	}
	if n.indices == nil {
		n.indices = make(map[lb.NodeName]index)
	}
	n.known = append(n.known, name)
	i = index(len(n.known))
	n.indices[name] = i
	return i
}

func (n *names) of(i index) lb.NodeName {
	if i == 0 {
		return ""
	}
	return n.known[i-1]
}
