// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// Messages overtake each other: what is said later of another speaker does not make a word
// void that was said before and arrives after it; what is said later of the same one does.
func TestMessagesOvertakeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newCluster(t, 4).nodes[0].Vigil
		var got []suspect.Message
		for _, m := range []struct {
			kind   suspect.Kind
			about  lb.NodeName
			number uint64
		}{
			{suspect.Back, "node-3", 9},
			{suspect.Back, "node-3", 9}, // its copy
			{suspect.Gone, "node-3", 8}, // was said before it came back
			{suspect.Back, "node-2", 7},
			{kindReady, "node-1", 6},
			{suspect.Here, "node-1", 5},
			{kindReady, "node-1", 4},
			{kindReady, "node-1", 10},
		} {
			if m, ok := v.take(encode(m.kind, m.about, "node-1", m.number)); ok {
				got = append(got, m)
			}
		}
		want := []suspect.Message{
			{Kind: suspect.Back, Node: "node-3", By: "node-1"},
			{Kind: suspect.Back, Node: "node-2", By: "node-1"},
			{Kind: kindReady, Node: "node-1", By: "node-1"},
			{Kind: suspect.Here, Node: "node-1", By: "node-1"},
			{Kind: kindReady, Node: "node-1", By: "node-1"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
	})
}
