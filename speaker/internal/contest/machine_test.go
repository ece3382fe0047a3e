// SPDX-License-Identifier: Apache-2.0

package contest

import (
	"net/netip"
	"testing"
	"time"
)

var (
	address  = netip.MustParseAddr("192.0.2.240")
	squatter = Station{MAC: [6]byte{2, 9}, Interface: "eth0"}
	printer  = Station{MAC: [6]byte{2, 8}, Interface: "eth0"}
)

// story tells a machine what happens, and when.
type story struct {
	*testing.T
	m   Machine
	now time.Time
}

func newStory(t *testing.T) *story { return &story{T: t, now: time.Unix(0, 0)} }

func (s *story) after(d time.Duration) *story {
	s.now = s.now.Add(d)
	return s
}

func (s *story) hear(by Station, defend bool) {
	s.Helper()
	if d := s.m.Hear(address, by, s.now); d != defend {
		s.Errorf("hearing %x: defend %v, want %v", by.MAC, d, defend)
	}
}

func (s *story) find(by Station, defend bool, change Change) {
	s.Helper()
	if d, c := s.m.Find(address, by, s.now); d != defend || c != change {
		s.Errorf("finding %x: defend %v, change %d; want %v and %d", by.MAC, d, c, defend, change)
	}
}

func (s *story) miss(change Change) {
	s.Helper()
	if c := s.m.Miss(address, s.now); c != change {
		s.Errorf("finding nobody: change %d, want %d", c, change)
	}
}

// due expects the address to be asked for now, or not, and Next to agree.
func (s *story) due(want bool) {
	s.Helper()
	if got := len(s.m.Due(s.now)) == 1; got != want {
		s.Errorf("to be asked for: %v, want %v", got, want)
	}
	if next, ok := s.m.Next(); (ok && !next.After(s.now)) != want {
		s.Errorf("next question at %s (%v), now it is %s", next, ok, s.now)
	}
}

func (s *story) contested(want Station) {
	s.Helper()
	got, ok := s.m.Contested(address)
	if got != want || ok != (want != Station{}) || len(s.m.All()) != 0 != ok {
		s.Errorf("contested by %x, want %x", got.MAC, want.MAC)
	}
}

// A speaker that has not yet heard who owns the address now is no contestant.
func TestHandover(t *testing.T) {
	s := newStory(t)
	s.hear(squatter, false) // it may have the address by right
	s.due(false)
	s.contested(Station{})
	s.after(grace).due(true)
	s.miss(None)
	s.contested(Station{})
	for range 6 {
		s.after(askInterval).due(true)
		s.miss(None)
	}
	if len(s.m.claims) != 0 {
		t.Error("a claim is remembered for longer than it counts")
	}
}

func TestSquatter(t *testing.T) {
	s := newStory(t)
	s.hear(squatter, false)
	s.after(grace).find(squatter, false, None) // by right, if the address has moved twice
	s.contested(Station{})
	s.due(false)
	s.after(grace).due(true)
	s.find(squatter, true, Began)
	s.contested(squatter)
	s.due(false)
	s.hear(squatter, false)
	s.after(askInterval).due(true)
	s.find(squatter, false, None)
	s.hear(squatter, true)
	s.after(askInterval).find(printer, true, Began)
	s.contested(printer)
	for range silences - 1 {
		s.after(askInterval).miss(None)
		s.contested(printer)
	}
	s.after(askInterval).miss(Ended)
	s.contested(Station{})
	if _, ok := s.m.Next(); ok {
		t.Error("an address is asked for that nobody contests")
	}
}

// One that is heard again after nobody has answered, and hides from the next question, too.
func TestHidingSquatter(t *testing.T) {
	s := newStory(t)
	s.hear(squatter, false)
	s.after(grace).miss(None)
	s.after(time.Second).hear(printer, false)
	s.after(time.Second).hear(printer, false)
	s.contested(Station{})
	s.due(false)
	s.after(grace).due(true)
	s.miss(Began)
	s.contested(printer)
	s.hear(printer, true)
	for range silences {
		s.after(askInterval).miss(None)
		s.hear(printer, true)
	}
	for range silences - 1 {
		s.after(askInterval).miss(None)
	}
	s.after(askInterval).miss(Ended)
}

// An address that goes to another speaker and comes back, again and again, is claimed and
// answered for by that one each time, by right.
func TestMoves(t *testing.T) {
	s := newStory(t)
	for range 20 {
		s.hear(squatter, false)
		s.after(grace).find(squatter, false, None)
		s.m.Unsettle(s.now)
		s.after(time.Second).due(false)
		s.find(squatter, false, None) // asked before
		s.after(grace).miss(None)
		s.hear(squatter, false)
		s.m.Unsettle(s.now)
		s.after(grace).miss(None)
	}
	s.contested(Station{})
	// When nobody comes or goes any more, it is as ever.
	s.hear(squatter, false)
	s.after(grace).find(squatter, false, None)
	s.after(grace).find(squatter, true, Began)
	s.m.Unsettle(s.now)
	s.contested(squatter)
}

// Found once, and not again: a speaker that has given the address up since.
func TestFoundOnce(t *testing.T) {
	s := newStory(t)
	s.hear(squatter, false)
	s.after(grace).find(squatter, false, None)
	s.after(grace).miss(None)
	s.after(askInterval).find(squatter, false, None)
	s.contested(Station{})
}

// A question may find a station that nobody has heard claim the address. It may be a speaker
// that takes the address over just now: this node gives it up within a second then.
func TestFoundWithoutAClaim(t *testing.T) {
	s := newStory(t)
	s.miss(None)
	s.find(squatter, false, None)
	s.contested(Station{})
	s.due(false)
	s.after(grace-time.Millisecond).find(squatter, false, None)
	s.due(false)
	s.after(time.Millisecond).due(true)
	s.find(squatter, false, None)
	s.after(grace).due(true)
	s.find(squatter, true, Began)
	s.contested(squatter)
	s.m.Forget(address)
	s.contested(Station{})
	s.due(false)
}
