// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"container/heap"
	"time"
)

// queue is a heap of sessions by the time at which they want to be looked at. It
// may be too early for a session, never too late: what a packet postpones is
// found out when the time comes, which is cheaper than to move the session in the
// heap for each packet.
type queue []*session

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	s := x.(*session)
	s.index = len(*q)
	*q = append(*q, s)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.index = absent
	return s
}

// absent is the index of a session that is in no queue.
const absent = -1

// plan makes sure that a session is looked at by the given time; zero is never.
func (q *queue) plan(s *session, at time.Time) {
	switch {
	case at.IsZero():
		q.remove(s)
	case s.index == absent:
		s.due = at
		heap.Push(q, s)
	case at.Before(s.due):
		s.due = at
		heap.Fix(q, s.index)
	}
}

// postpone moves a session to a time that may be later.
func (q *queue) postpone(s *session, at time.Time) {
	if at.IsZero() || s.index == absent {
		q.plan(s, at)
		return
	}
	s.due = at
	heap.Fix(q, s.index)
}

// remove takes a session out, if it is in.
func (q *queue) remove(s *session) {
	if s.index != absent {
		heap.Remove(q, s.index)
	}
}

// first is when the first session wants to be looked at; zero: there is none.
func (q queue) first() time.Time {
	if len(q) == 0 {
		return time.Time{}
	}
	return q[0].due
}
