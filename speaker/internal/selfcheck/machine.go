// SPDX-License-Identifier: Apache-2.0

package selfcheck

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// Outcome is what came of asking for an address.
type Outcome uint8

// The outcomes.
const (
	// Void: the question proves nothing. Nobody at all was heard, or it took too long.
	Void Outcome = iota
	// Silence: others are heard, and nobody has the address.
	Silence
	// Answered: somebody has it.
	Answered
)

// Change is what a Machine has concluded.
type Change uint8

// The changes.
const (
	// None: it is as it was.
	None Change = iota
	// Began: the owner does not answer.
	Began
	// Ended: somebody answers again.
	Ended
)

const (
	// Silences is how often in a row nobody must have answered before that is reported.
	Silences = 4
	// again is the time between two questions in doubt. A handover takes one second at
	// most, a link that listens first three: see package announce.
	again = 3 * time.Second
	// watch is the time between two questions for an address that was reported.
	watch = 15 * time.Second
	// voids is how many void questions in a row end a doubt. The next walk renews it.
	voids = 5
	// room is how many addresses may wait before the walk does.
	room = 16
	// stride bounds how many addresses are looked at at once.
	stride = 1000
)

// Machine asks for addresses in turn. Its zero value has taken no walk. It is not safe
// for concurrent use. Times passed to it never go back.
type Machine struct {
	walk  []netip.Addr // the addresses of this walk
	seen  int          // how many of them have been looked at
	begun time.Time
	// interval is how long this walk is to take.
	interval time.Duration

	queue []netip.Addr
	// found counts the addresses that this walk had for the queue, before those of the
	// last one.
	found, before int
	cases         map[netip.Addr]*doubt
	// turn says that the queue is to go before the cases.
	turn bool
}

// doubt is an address that nobody has answered for.
type doubt struct {
	owner    lb.NodeName
	since    time.Time // the first silence
	silent   int       // in a row
	void     int       // in a row
	reported bool
	ask      time.Time // when to ask next
}

// Over says whether there is a new walk to begin with Begin. One without addresses is over
// at once.
func (m *Machine) Over(now time.Time) bool {
	return len(m.walk) == 0 || m.seen == len(m.walk) && now.Sub(m.begun) >= m.interval
}

// Begin begins a walk over all addresses there are, which it keeps. It takes the interval,
// or longer if there is much to ask for.
func (m *Machine) Begin(all []netip.Addr, interval time.Duration, now time.Time) {
	m.walk, m.seen, m.begun, m.interval = all, 0, now, interval
	m.before, m.found = m.found, 0
}

// Look returns the addresses whose turn it is: those that this node is to ask for are to
// be passed to Queue.
func (m *Machine) Look(now time.Time) []netip.Addr {
	if len(m.queue) >= room || len(m.walk) == 0 {
		return nil
	}
	due := 1 + int(float64(len(m.walk))*float64(now.Sub(m.begun))/float64(m.interval))
	end := max(m.seen, min(due, m.seen+stride, len(m.walk)))
	look := m.walk[m.seen:end]
	m.seen = end
	return look
}

// Queue takes addresses that are to be asked for. Those in doubt are asked for anyway.
func (m *Machine) Queue(found []netip.Addr) {
	m.found += len(found)
	for _, a := range found {
		if m.cases[a] == nil {
			m.queue = append(m.queue, a)
		}
	}
}

// Take returns the address to ask for now; false if there is none.
func (m *Machine) Take(now time.Time) (netip.Addr, bool) {
	due, doubted := m.due(now)
	if len(m.queue) > 0 && (m.turn || !doubted) {
		a := m.queue[0]
		m.queue = m.queue[1:]
		m.turn = false
		return a, true
	}
	m.turn = true
	return due, doubted
}

// due returns the address in doubt that has waited longest.
func (m *Machine) due(now time.Time) (first netip.Addr, ok bool) {
	var since time.Time
	for a, d := range m.cases {
		if d.ask.After(now) || ok && (d.ask.After(since) || d.ask.Equal(since) && first.Less(a)) {
			continue
		}
		first, since, ok = a, d.ask, true
	}
	return first, ok
}

// Heard takes what came of asking for an address that its owner should answer for.
// Whatever was in doubt about another owner does not count.
func (m *Machine) Heard(a netip.Addr, owner lb.NodeName, o Outcome, now time.Time) Change {
	d := m.cases[a]
	if d != nil && d.owner != owner {
		m.Drop(a)
		d = nil
	}
	switch o {
	case Answered:
		return m.answered(a, d)
	case Silence:
		return m.silent(a, d, owner, now)
	case Void:
		m.voided(a, d, now)
	}
	return None
}

func (m *Machine) answered(a netip.Addr, d *doubt) Change {
	m.Drop(a)
	if d != nil && d.reported {
		return Ended
	}
	return None
}

func (m *Machine) silent(a netip.Addr, d *doubt, owner lb.NodeName, now time.Time) Change {
	if d == nil {
		d = &doubt{owner: owner, since: now}
		m.put(a, d)
	}
	d.silent++
	d.void = 0
	d.ask = now.Add(again)
	if d.reported {
		d.ask = now.Add(watch)
		return None
	}
	if d.silent < Silences {
		return None
	}
	d.reported, d.ask = true, now.Add(watch)
	return Began
}

func (m *Machine) voided(a netip.Addr, d *doubt, now time.Time) {
	switch {
	case d == nil: // the next walk comes by again
	case d.reported:
		d.ask = now.Add(watch)
	case d.void+1 >= voids:
		m.Drop(a)
	default:
		d.void++
		d.ask = now.Add(again)
	}
}

// Drop forgets an address that this node is not to ask for any more. It returns whether
// its owner had been reported.
func (m *Machine) Drop(a netip.Addr) (reported bool) {
	d := m.cases[a]
	delete(m.cases, a)
	return d != nil && d.reported
}

// Silent returns the addresses that are reported, and their owners.
func (m *Machine) Silent() map[netip.Addr]lb.NodeName {
	all := make(map[netip.Addr]lb.NodeName)
	for a, d := range m.cases {
		if d.reported {
			all[a] = d.owner
		}
	}
	return all
}

// Since returns when nobody answered first for an address in doubt.
func (m *Machine) Since(a netip.Addr) time.Time {
	if d := m.cases[a]; d != nil {
		return d.since
	}
	return time.Time{}
}

// Found counts the addresses that are this node's to ask for, by the last whole walk or
// by this one if it has found more.
func (m *Machine) Found() int { return max(m.found, m.before) }

func (m *Machine) put(a netip.Addr, d *doubt) {
	if m.cases == nil {
		m.cases = make(map[netip.Addr]*doubt)
	}
	m.cases[a] = d
}
