// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// After a backlog has been worked off, a look at the rest must not walk its room.
func TestPendingGivesRoomBack(t *testing.T) {
	t.Parallel()
	var p pending[int, int]
	for k := range 10_000 {
		p.set(k, k)
	}
	for k := range 9_998 {
		delete(p.entries, k)
	}
	want := map[int]int{9998: 9998, 9999: 9999}
	if diff := cmp.Diff(want, maps.Collect(p.all())); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if p.room != 2 {
		t.Errorf("there is room for %d entries after a look at 2; want 2", p.room)
	}
}

// A map that is nearly full, or small, is not worth making anew at every look.
func TestPendingKeepsRoomInUse(t *testing.T) {
	t.Parallel()
	var p pending[int, int]
	for k := range 100 {
		p.set(k, k)
	}
	for k := range 80 {
		delete(p.entries, k)
	}
	for range p.all() {
		break
	}
	if p.room != 100 {
		t.Errorf("there is room for %d entries; want the 100 there were", p.room)
	}
}
