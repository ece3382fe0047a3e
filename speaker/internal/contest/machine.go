// SPDX-License-Identifier: Apache-2.0

package contest

import (
	"fmt"
	"net/netip"
	"time"
)

// Station is who claims an address, and where it was heard.
type Station struct {
	MAC       [6]byte
	Interface string
}

// Hardware returns the station's hardware address as people write it.
func (s Station) Hardware() string {
	m := s.MAC
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Change is what a Machine has concluded.
type Change uint8

// The changes.
const (
	// None: it is as it was.
	None Change = iota
	// Began: another station has the address, or another one than before.
	Began
	// Ended: no other station has the address any more.
	Ended
)

const (
	// grace is how long after a claim the LAN is asked. A speaker that gives an address
	// up has done so a second after it has heard of its new owner.
	grace = 2 * time.Second
	// defendInterval is the shortest time between two announcements in defence
	// (DEFEND_INTERVAL of RFC 5227, section 1.1).
	defendInterval = 10 * time.Second
	// askInterval is how often a contestant is asked for.
	askInterval = 10 * time.Second
	// memory is how long a claim counts that nobody answered for.
	memory = time.Minute
	// silences is how often in a row nobody must have answered for a contest to be over.
	silences = 3
)

// Machine has the addresses that somebody else claims. Its zero value has none. It is
// not safe for concurrent use. Times passed to it never go back.
type Machine struct {
	claims map[netip.Addr]*claim
}

// claim is an address that another station has claimed.
type claim struct {
	by       Station
	began    bool // it is a contest
	found    bool // it was answered for when it was asked for last
	again    bool // it was claimed again after nobody had answered: a station may hide from questions
	since    time.Time
	heard    time.Time
	defended time.Time
	ask      time.Time // when to ask next
	silent   int       // how often in a row nobody has answered
}

// Hear takes a claim of an address that this node announces. It returns whether to
// announce the address again in defence of it: not before it is certain that there is a
// contest. A speaker that takes the address over by right would lose clients to one that
// has not heard of that yet. For the same reason no contest begins with what is heard.
func (m *Machine) Hear(a netip.Addr, by Station, now time.Time) (defend bool) {
	c := m.claimOf(a, by, now)
	if !c.began && !c.again && c.silent > 0 && c.by.MAC == by.MAC {
		c.again, c.ask = true, now.Add(grace)
	}
	c.heard, c.by = now, by
	return c.defend(now)
}

// defend says whether to defend the address now, as if that happened.
func (c *claim) defend(now time.Time) bool {
	if !c.began || !c.defended.IsZero() && now.Sub(c.defended) < defendInterval {
		return false
	}
	c.defended = now
	return true
}

// Find takes what came of asking for an address: a station that has it. It returns whether
// to defend the address, as Hear does, and what is concluded. The first that is heard of a
// station is a claim, no more: it may be a speaker that takes the address over by right at
// that very moment. So may be one that is found for the first time, if the address has moved
// once more: two answers in a row count.
func (m *Machine) Find(a netip.Addr, by Station, now time.Time) (defend bool, change Change) {
	c := m.claimOf(a, by, now)
	if !c.began && now.Sub(c.since) < grace {
		c.heard, c.by = now, by
		return false, None
	}
	if !c.began && !c.found {
		c.found, c.by, c.heard, c.ask = true, by, now, now.Add(grace)
		return false, None
	}
	changed := !c.began || c.by.MAC != by.MAC
	c.by, c.began, c.silent, c.heard = by, true, 0, now
	c.ask = now.Add(askInterval)
	if !changed {
		return false, None
	}
	return c.defend(now), Began
}

// Miss takes what came of asking for an address: nobody else has it. Whoever has claimed it
// again after the last time hides from questions.
func (m *Machine) Miss(a netip.Addr, now time.Time) Change {
	c := m.claims[a]
	if c == nil {
		return None
	}
	c.silent++
	c.ask, c.found = now.Add(askInterval), false
	switch {
	case !c.began && c.again:
		c.began = true
		return Began
	case !c.began && now.Sub(c.heard) >= memory:
		delete(m.claims, a)
	case c.began && c.silent >= silences && now.Sub(c.heard) >= silences*askInterval:
		delete(m.claims, a)
		return Ended
	}
	return None
}

// Unsettle has claims that are not contests yet looked into anew, because speakers have come
// or gone: those who have claimed addresses may have had them by right.
func (m *Machine) Unsettle(now time.Time) {
	for _, c := range m.claims {
		if !c.began {
			c.since, c.ask, c.silent, c.found, c.again = now, now.Add(grace), 0, false, false
		}
	}
}

// Forget drops an address that this node is not to announce any more.
func (m *Machine) Forget(a netip.Addr) { delete(m.claims, a) }

// Due returns the addresses to ask for now, in no order.
func (m *Machine) Due(now time.Time) []netip.Addr {
	var due []netip.Addr
	for a, c := range m.claims {
		if !c.ask.After(now) {
			due = append(due, a)
		}
	}
	return due
}

// Next returns when an address is to be asked for next. It is false if none is.
func (m *Machine) Next() (next time.Time, ok bool) {
	for _, c := range m.claims {
		if !ok || c.ask.Before(next) {
			next, ok = c.ask, true
		}
	}
	return next, ok
}

// Contested returns who else has an address; false if nobody has.
func (m *Machine) Contested(a netip.Addr) (Station, bool) {
	if c := m.claims[a]; c != nil && c.began {
		return c.by, true
	}
	return Station{}, false
}

// All returns the contested addresses and who else has them.
func (m *Machine) All() map[netip.Addr]Station {
	all := make(map[netip.Addr]Station)
	for a, c := range m.claims {
		if c.began {
			all[a] = c.by
		}
	}
	return all
}

// claimOf returns the claim of an address, made by that station if there is none.
func (m *Machine) claimOf(a netip.Addr, by Station, now time.Time) *claim {
	c := m.claims[a]
	if c == nil {
		c = &claim{by: by, since: now, ask: now.Add(grace)}
		if m.claims == nil {
			m.claims = make(map[netip.Addr]*claim)
		}
		m.claims[a] = c
	}
	return c
}
