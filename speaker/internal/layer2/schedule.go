// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"container/heap"
	"net/netip"
	"time"
)

// The pace of announcements, on each interface and for each protocol.
const (
	// rounds and roundInterval: a burst of three, a second apart, as RFC 4861
	// section 7.2.6 has it (MAX_NEIGHBOR_ADVERTISEMENT, RetransTimer); RFC 5227
	// wants two. Before the second comes one more after earlyInterval: a client whose
	// copy of the first was lost would talk to the node before for a second.
	rounds        = 4
	earlyInterval = 100 * time.Millisecond
	roundInterval = time.Second

	// DefaultRefresh is how often an address is announced after its burst. It is
	// shorter than the 300 s after which switches forget where a station is, while
	// routers remember its hardware address for much longer: between the two,
	// traffic is flooded or lost (metallb#2910).
	DefaultRefresh = 120 * time.Second

	// firstRate bounds the packets per second of first rounds, which clients wait
	// for: a node that takes over 500 addresses has told everybody after 200 ms.
	firstRate = 5000
	// repeatRate bounds those of all later rounds and of refreshing, which nobody
	// waits for.
	repeatRate = 1000

	// firstSlack and repeatSlack are how much unused budget may be caught up on: as
	// much as a timer may be late, and repeatPause.
	firstSlack  = 10 * time.Millisecond
	repeatSlack = repeatPause + firstSlack
	// repeatPause is how long to wait at least for those that nobody waits for: ten
	// thousand addresses are refreshed by 20 wake-ups a second instead of 80.
	repeatPause = 50 * time.Millisecond
)

// schedule decides when which address is announced. It knows no clock: the
// caller passes the time, which never goes back. It is not safe for concurrent
// use.
type schedule struct {
	refresh time.Duration
	epoch   time.Time // what phases are counted from
	items   map[netip.Addr]*item
	first   queue // waiting for their first round, oldest first
	later   queue // the others, by time
	// firstBudget and laterBudget pace the two queues.
	firstBudget budget
	laterBudget budget
}

// item is an address in one of the two queues.
type item struct {
	address netip.Addr
	due     time.Time
	round   int // how many rounds it has had, at most rounds
	index   int // in its queue
}

// newSchedule returns a schedule, empty at the time now, for a protocol that
// needs the given number of packets to announce an address.
func newSchedule(refresh time.Duration, packets int, now time.Time) *schedule {
	return &schedule{
		refresh:     refresh,
		epoch:       now,
		items:       make(map[netip.Addr]*item),
		firstBudget: budget{cost: time.Duration(packets) * time.Second / firstRate, slack: firstSlack},
		laterBudget: budget{cost: time.Duration(packets) * time.Second / repeatRate, slack: repeatSlack},
	}
}

// add begins a burst for an address. An address that is there already stays as
// it is: to be told twice is no reason to announce again.
func (s *schedule) add(a netip.Addr, now time.Time) {
	if s.items[a] != nil {
		return
	}
	it := &item{address: a, due: now}
	s.items[a] = it
	heap.Push(&s.first, it)
}

// again begins another burst for an address, if it is there and not about to have its
// first round.
func (s *schedule) again(a netip.Addr, now time.Time) {
	if it := s.items[a]; it != nil && it.round > 0 {
		s.remove(a)
		s.add(a, now)
	}
}

// remove forgets an address, if it is there.
func (s *schedule) remove(a netip.Addr) {
	it := s.items[a]
	if it == nil {
		return
	}
	delete(s.items, a)
	heap.Remove(s.queueOf(it), it.index)
}

// next returns an address to announce now, and counts it as announced. It is
// false if there is none, or no budget for one.
func (s *schedule) next(now time.Time) (netip.Addr, bool) {
	var it *item
	switch {
	case len(s.first) > 0 && s.firstBudget.take(now):
		it = heap.Pop(&s.first).(*item)
	case len(s.first) == 0 && len(s.later) > 0 && !s.later[0].due.After(now) && s.laterBudget.take(now):
		it = heap.Pop(&s.later).(*item)
	default:
		return netip.Addr{}, false
	}
	it.due = s.following(it, now)
	it.round = min(it.round+1, rounds)
	heap.Push(&s.later, it)
	return it.address, true
}

// wait returns how long to wait until next can have an address; false means
// until another one is added.
func (s *schedule) wait(now time.Time) (time.Duration, bool) {
	switch {
	case len(s.first) > 0:
		return max(0, s.firstBudget.free().Sub(now)), true
	case len(s.later) > 0:
		return max(repeatPause, s.later[0].due.Sub(now), s.laterBudget.free().Sub(now)), true
	}
	return 0, false
}

// following is when an address is due again that is announced now.
func (s *schedule) following(it *item, now time.Time) time.Time {
	switch {
	case it.round == 0:
		return now.Add(earlyInterval)
	case it.round < rounds-1:
		return now.Add(roundInterval)
	}
	// Each address has a phase of its own in the refresh interval. Addresses that
	// were announced together, or delayed together, are refreshed one by one.
	phase := time.Duration(fraction(it.address) * float64(s.refresh))
	elapsed := (now.Sub(s.epoch) - phase) % s.refresh
	if elapsed < 0 {
		elapsed += s.refresh
	}
	return now.Add(s.refresh - elapsed)
}

func (s *schedule) queueOf(it *item) *queue {
	if it.round == 0 {
		return &s.first
	}
	return &s.later
}

// fraction maps an address to a number in (0, 1], the same one each time.
func fraction(a netip.Addr) float64 {
	return (float64(hash(a)>>11) + 1) / (1 << 53)
}

// budget spaces announcements evenly: it is a token bucket kept as the time at
// which the next one would be due if all of the last ones had been on time.
type budget struct {
	cost  time.Duration // of one announcement
	slack time.Duration // how much of it can be saved up
	at    time.Time
}

// take says whether there is budget for one announcement now, and spends it.
func (b *budget) take(now time.Time) bool {
	if b.free().After(now) {
		return false
	}
	if earliest := now.Add(-b.slack); b.at.Before(earliest) {
		b.at = earliest
	}
	b.at = b.at.Add(b.cost)
	return true
}

// free is when the next announcement may be sent.
func (b *budget) free() time.Time { return b.at }

// queue is a heap of items by time, and by address where times are equal.
type queue []*item

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].address.Less(q[j].address)
}

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	it := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return it
}
