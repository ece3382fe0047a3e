// SPDX-License-Identifier: Apache-2.0

package bfd

import "time"

// punctual is how late a timer may be without being called late.
const punctual = 5 * time.Millisecond

// lateness remembers how late the timers of this process were of late. A process
// that was stopped, starved or paused with its machine hears nothing from its
// neighbors, and they hear nothing from it; that is its own failure, not theirs.
type lateness struct {
	recent [8]delay
	next   int
}

type delay struct {
	at time.Time
	by time.Duration
}

// record notes that what was due at one time was begun only now.
func (l *lateness) record(due, now time.Time) {
	if due.IsZero() || now.Sub(due) < punctual {
		return
	}
	l.recent[l.next] = delay{at: now, by: now.Sub(due)}
	l.next = (l.next + 1) % len(l.recent)
}

// worst returns the longest delay noted since a time.
func (l *lateness) worst(since time.Time) time.Duration {
	var worst time.Duration
	for _, d := range l.recent {
		if !d.at.Before(since) {
			worst = max(worst, d.by)
		}
	}
	return worst
}
