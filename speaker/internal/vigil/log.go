// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// Keys of log records that only this package writes.
const (
	logKeyCause  = "cause"
	logKeyBy     = "by"
	logKeyUntold = "untold"
)

func (v *Vigil) log(n suspect.Note) {
	record := v.Log.Info
	switch n.Event {
	case suspect.Confirmed, suspect.Accused, suspect.Alone:
		record = v.Log.Warn
	case suspect.Doubted:
		v.logDoubt(n, time.Now())
		return
	case suspect.Suspected, suspect.Refuted, suspect.Cleared, suspect.Returned:
	}
	record(explain(n.Event), lb.LogKeyMember, n.Node, logKeyCause, n.Cause.String())
}

// doubtPause is the time between two records at Info of this process having been late.
// Where processors are scarce it is late every second; the metric counts all of that.
const doubtPause = time.Minute

const doubted = "this process was late, it doubts itself"

// doubts are what has been said of this process having been late.
type doubts struct {
	told   time.Time // when at Info last
	untold int       // how many times since
}

// logDoubt tells the first of many, and how many there were before.
func (v *Vigil) logDoubt(n suspect.Note, now time.Time) {
	d := &v.doubts
	if !d.told.IsZero() && now.Sub(d.told) < doubtPause {
		d.untold++
		v.Log.Debug(doubted, lb.LogKeyMember, n.Node, logKeyCause, n.Cause.String())
		return
	}
	v.Log.Info(doubted, lb.LogKeyMember, n.Node, logKeyCause, n.Cause.String(), logKeyUntold, d.untold)
	d.told, d.untold = now, 0
}

// explain says what an event means.
func explain(e suspect.Event) string {
	switch e {
	case suspect.Suspected:
		return "speaker is silent, asking the LAN"
	case suspect.Confirmed:
		return "nobody answers in its place, taking over"
	case suspect.Refuted:
		return "its addresses are answered for, it stays"
	case suspect.Cleared:
		return "speaker is heard again"
	case suspect.Alone:
		return "nobody answers, but nobody else is heard: this node may be cut off"
	case suspect.Returned:
		return "speaker is back"
	case suspect.Doubted:
		return doubted
	case suspect.Accused:
		return "others have taken over from this node, which is alive"
	}
	return e.String()
}
