// SPDX-License-Identifier: Apache-2.0

package elect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// Names whose hashes collide are too rare to find, so the tie is made here.
func TestTieGoesToTheLowerName(t *testing.T) {
	n := NewNodes([]lb.NodeName{"c", "a", "b"})
	for i := range n.seeds {
		n.seeds[i] = 42
	}
	all := n.None()
	for i := range n.Len() {
		all.Add(i)
	}
	if owner, _ := n.Owner(7, all); n.Name(owner) != "a" {
		t.Errorf("owner = %s, want a", n.Name(owner))
	}
	if diff := cmp.Diff([]int{0, 1}, n.Rank(nil, 7, all, 2)); diff != "" {
		t.Errorf("ranking (-want +got):\n%s", diff)
	}
}

// A weight of zero is as good as any other.
func TestZeroWeightCanWin(t *testing.T) {
	n := NewNodes([]lb.NodeName{"a"})
	n.seeds[0] = 7
	all := n.None()
	all.Add(0)
	if owner, ok := n.Owner(7, all); !ok || owner != 0 { // mix(7^7) = 0
		t.Errorf("Owner = %d, %t, want 0", owner, ok)
	}
}
