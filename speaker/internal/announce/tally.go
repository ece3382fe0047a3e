// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/contest"
)

// tallyTime is how long what happens is collected for one record in the log.
const tallyTime = time.Second

// tally bounds the log: a station that has thousands of addresses is one record a second,
// and not thousands. Its zero value is empty; it is not safe for concurrent use.
type tally struct {
	open map[tallied]*count
}

// tallied is what is counted: a change of contests with a station, or None, its claims.
type tallied struct {
	change contest.Change
	by     contest.Station
}

// count is how often it has happened since the last record.
type count struct {
	first netip.Addr
	times int
	due   time.Time
}

// add counts what happens about an address.
func (t *tally) add(change contest.Change, a netip.Addr, by contest.Station, now time.Time) {
	if t.open == nil {
		t.open = make(map[tallied]*count)
	}
	what := tallied{change, by}
	if t.open[what] == nil {
		t.open[what] = &count{first: a, due: now.Add(tallyTime)}
	}
	t.open[what].times++
}

// take returns what is due.
func (t *tally) take(now time.Time) map[tallied]*count {
	due := make(map[tallied]*count)
	for what, n := range t.open {
		if !n.due.After(now) {
			due[what] = n
			delete(t.open, what)
		}
	}
	return due
}

// next returns when something is due; false if nothing will be.
func (t *tally) next() (next time.Time, ok bool) {
	for _, n := range t.open {
		if !ok || n.due.Before(next) {
			next, ok = n.due, true
		}
	}
	return next, ok
}

// counted returns what is to be logged now.
func (c *Contests) counted(now time.Time) map[tallied]*count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally.take(now)
}

// say logs what has been counted. Claims alone are nothing to an operator: each address that
// changes hands is claimed, and what is more than that is found out.
func (c *Contests) say(due map[tallied]*count) {
	for what, n := range due {
		log := c.Log.With(lb.LogKeyIP, n.first, lb.LogKeyCount, n.times, "mac", what.by.Hardware(), lb.LogKeyInterface, what.by.Interface)
		switch what.change {
		case contest.None:
			log.Debug("another station claims addresses")
		case contest.Began:
			log.Warn("another station has addresses", "policy", c.Policy)
		case contest.Ended:
			log.Info("no other station has the addresses any more")
		}
	}
}
