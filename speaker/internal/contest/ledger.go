// SPDX-License-Identifier: Apache-2.0

package contest

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Entry is what is recorded about a contested address, for everybody to read.
type Entry struct {
	// By is the hardware address of the station.
	By string
	// Keeper is the node that looks after the entry.
	Keeper string
	// Created is when the entry was made, and Lasts how long it counts from then.
	Created time.Time
	Lasts   time.Duration
}

// Step is what is to be done about an address.
type Step uint8

// The steps.
const (
	// Record makes an entry.
	Record Step = iota + 1
	// Extend makes the entry last longer, and this node its keeper.
	Extend
	// Erase deletes the entry.
	Erase
	// Probe asks the LAN, and tells Find or Miss.
	Probe
	// Omit is that no entry is made, because the station has too many already. It is said
	// about the first of its addresses, and stands for the others.
	Omit
)

// Task is a step about one address.
type Task struct {
	Step    Step
	Address netip.Addr
	// By is the hardware address of the station, and Lasts how long the entry is to count
	// from its making, for Record and Extend.
	By    string
	Lasts time.Duration
}

const (
	// lasting is how long an entry counts that nobody extends: its keeper may be gone.
	lasting = 10 * time.Minute
	// probeInterval is how often a station is asked for whose address nobody announces.
	probeInterval = 15 * time.Second
	// perStation is how many addresses of one station are recorded. One that has more
	// answers for all that it is asked for, as a proxy does (RFC 1027), and would take
	// all addresses out of use.
	perStation = 4
)

// Ledger keeps the record of contested addresses, which outlasts the Services that have
// them. An address that is announced here is contested as the Machine says; one that
// nobody announces any more is asked for by the keeper of its entry. Its zero value is of
// no use; it is not safe for concurrent use.
type Ledger struct {
	node    string
	entries map[netip.Addr]Entry
	// ended are the addresses that are not contested any more, by the Machine.
	ended map[netip.Addr]struct{}
	// omitted are the stations that Omit was said about.
	omitted map[string]struct{}
	probes  map[netip.Addr]probe
}

// probe is how it stands with asking for an address.
type probe struct {
	next   time.Time
	silent int // times in a row
}

// NewLedger returns the empty ledger of a node.
func NewLedger(node string) *Ledger {
	return &Ledger{
		node: node, entries: make(map[netip.Addr]Entry), ended: make(map[netip.Addr]struct{}),
		omitted: make(map[string]struct{}), probes: make(map[netip.Addr]probe),
	}
}

// Enter takes notice of the entry of an address.
func (l *Ledger) Enter(a netip.Addr, e Entry) { l.entries[a] = e }

// Strike takes notice that there is none.
func (l *Ledger) Strike(a netip.Addr) {
	delete(l.entries, a)
	delete(l.ended, a)
	delete(l.probes, a)
}

// End takes notice that an address announced here is not contested any more.
func (l *Ledger) End(a netip.Addr) { l.ended[a] = struct{}{} }

// Tasks returns what is to be done now, given the addresses announced here that are
// contested, and whether a Service has an address. Until something is done it says the
// same again, but for Probe and Omit.
func (l *Ledger) Tasks(contested map[netip.Addr]Station, held func(netip.Addr) bool, now time.Time) []Task {
	var tasks []Task
	count, there := l.count(), make(map[string]struct{})
	for _, a := range slices.SortedFunc(maps.Keys(contested), netip.Addr.Compare) {
		delete(l.ended, a)
		by := contested[a].Hardware()
		there[by] = struct{}{}
		t, ok := l.contested(a, by, count[by] >= perStation, now)
		if !ok {
			continue
		}
		tasks = append(tasks, t)
		if t.Step == Record {
			count[by]++
		}
	}
	for by := range l.omitted {
		if _, still := there[by]; !still {
			delete(l.omitted, by)
		}
	}
	for a, e := range l.entries {
		if _, ok := contested[a]; ok {
			delete(l.probes, a)
			continue
		}
		if t, ok := l.orphan(a, e, held(a), now); ok {
			tasks = append(tasks, t)
		}
	}
	for a := range l.ended {
		if _, ok := l.entries[a]; !ok {
			delete(l.ended, a)
		}
	}
	return tasks
}

// contested returns what to do about an address that the Machine says is contested.
// Crowded is whether there are enough entries about the station.
func (l *Ledger) contested(a netip.Addr, by string, crowded bool, now time.Time) (Task, bool) {
	e, ok := l.entries[a]
	switch {
	case ok && e.By == by && e.Keeper == l.node && !e.fades(now):
		return Task{}, false
	case ok:
		return extend(a, e, by, now), true
	case crowded:
		_, said := l.omitted[by]
		l.omitted[by] = struct{}{}
		return Task{Step: Omit, Address: a, By: by}, !said
	}
	return Task{Step: Record, Address: a, By: by, Lasts: lasting}, true
}

// orphan returns what to do about an entry that this node's Machine says nothing about. As
// long as a Service has the address it is up to the node that announces it.
func (l *Ledger) orphan(a netip.Addr, e Entry, held bool, now time.Time) (Task, bool) {
	p := l.probes[a]
	switch _, ended := l.ended[a]; {
	case ended, p.silent >= silences:
		return Task{Step: Erase, Address: a}, true
	case held, e.Keeper != l.node:
		delete(l.probes, a)
		return Task{}, false
	case p.next.After(now):
		return Task{}, false
	}
	p.next = now.Add(probeInterval)
	l.probes[a] = p
	return Task{Step: Probe, Address: a}, true
}

// Find takes what came of a probe: a station that has the address. It returns what else is
// to be done, if anything.
func (l *Ledger) Find(a netip.Addr, by Station, now time.Time) (Task, bool) {
	e, ok := l.entries[a]
	if !ok {
		return Task{}, false
	}
	l.probes[a] = probe{next: now.Add(probeInterval)}
	if e.By == by.Hardware() && !e.fades(now) {
		return Task{}, false
	}
	return extend(a, e, by.Hardware(), now), true
}

// Miss takes what came of a probe: nobody has the address. It returns what else is to be
// done, if anything.
func (l *Ledger) Miss(a netip.Addr) (Task, bool) {
	p, ok := l.probes[a]
	if !ok {
		return Task{}, false
	}
	p.silent++
	l.probes[a] = p
	return Task{Step: Erase, Address: a}, p.silent >= silences
}

func extend(a netip.Addr, e Entry, by string, now time.Time) Task {
	return Task{Step: Extend, Address: a, By: by, Lasts: now.Sub(e.Created).Truncate(time.Second) + lasting}
}

// fades reports whether the entry is to be extended.
func (e Entry) fades(now time.Time) bool { return e.Created.Add(e.Lasts).Sub(now) < lasting/2 }

// count returns how many entries there are about each station.
func (l *Ledger) count() map[string]int {
	count := make(map[string]int)
	for _, e := range l.entries {
		count[e.By]++
	}
	return count
}
