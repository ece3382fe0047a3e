// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// On a machine that is short of processors a speaker is late every second. It says so
// once a minute, and how often it has not; anything else it says each time.
func TestDoubtsAreToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records bytes.Buffer
		withoutTime := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		v := newCluster(t, 1).nodes[0].Vigil
		v.Log = slog.New(slog.NewTextHandler(&records, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
		for range 100 {
			v.log(suspect.Note{Event: suspect.Doubted, Node: "node-0"})
			time.Sleep(time.Second)
		}
		v.log(suspect.Note{Event: suspect.Confirmed, Node: "node-1", Cause: suspect.ByGossip})
		v.log(suspect.Note{Event: suspect.Confirmed, Node: "node-2", Cause: suspect.ByOthers})
		want := []string{
			`level=INFO msg="this process was late, it doubts itself" member=node-0 cause=bfd untold=0`,
			`level=INFO msg="this process was late, it doubts itself" member=node-0 cause=bfd untold=59`,
			`level=WARN msg="nobody answers in its place, taking over" member=node-1 cause=gossip`,
			`level=WARN msg="nobody answers in its place, taking over" member=node-2 cause=told`,
		}
		got := strings.Split(strings.TrimSpace(records.String()), "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it says (-want +got):\n%s", diff)
		}
	})
}
