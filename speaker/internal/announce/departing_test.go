// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// A speaker that goes does not take those for squatters that its addresses go to, or that go
// with it: it tells nobody and writes nothing.
func TestDepartingJudgesNobody(t *testing.T) {
	const known, claimed = "192.0.2.2", "192.0.2.1"
	claim := layer2.Claim{Address: netip.MustParseAddr(claimed), Interface: "eth0", MAC: squatter}
	for _, tt := range []struct {
		name   string
		before func(*Contests)
		after  func(*Contests)
	}{
		{"claimed before", func(c *Contests) { c.Hear(claim) }, func(*Contests) {}},
		{"claimed afterwards", func(*Contests) {}, func(c *Contests) { c.Hear(claim) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
				api := newFakeReservations(t)
				defer api.record(s, c)()
				lan.set(known, squatter)
				add(s.inventory, "web", known)
				api.breakDown(true) // what is known already has not been written yet
				time.Sleep(10 * time.Second)
				synctest.Wait()
				s.expectContested(known)
				s.events.take()
				creates := api.creates
				lan.set(claimed, squatter)
				tt.before(c)
				synctest.Wait()

				s.Depart()
				api.breakDown(false)
				tt.after(c)
				time.Sleep(time.Minute)
				s.quiesce()
				s.expectEvents()
				s.expectContested("")
				if api.creates != creates || lan.repeated != 1 {
					t.Errorf("it writes %d records and defends %d times, want neither", api.creates-creates, lan.repeated-1)
				}
			})
		})
	}
}

// Where all go at once nobody takes over from the others, and nobody waits for them.
func TestAllDepart(t *testing.T) {
	withHandover(t, func(s *speaker, _ *fakeHandover, _, _ func()) {
		mine, theirs := s.shared("192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15")
		s.events.take()
		wait := s.Depart()
		s.members.set("a")
		begin := time.Now()
		wait()
		if d := time.Since(begin); d != 0 {
			t.Errorf("it has waited %s for an heir that goes, too", d)
		}
		s.quiesce()
		s.expectAnnounced(mine...) // as long as it is there, because nobody else is
		s.expectEvents()
		if len(theirs) == 0 {
			t.Error("the other node had nothing")
		}
	})
}

// Of several heirs one goes, too: the others are waited for, who have its part.
func TestHeirDeparts(t *testing.T) {
	withHandover(t, func(s *speaker, h *fakeHandover, _, _ func()) {
		s.inventory.OnNode(nil, node("c"))
		s.members.set("a", "b", "c")
		var addresses []string
		for i := range 60 {
			addresses = append(addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}).String())
		}
		s.shared(addresses...)
		wait := s.Depart()
		s.members.set("a", "b")
		begin := time.Now()
		time.AfterFunc(100*time.Millisecond, func() { h.ready <- "b" })
		wait()
		if d := time.Since(begin); d != 100*time.Millisecond {
			t.Errorf("it has waited %s for those that take over, want until they say that they answer, after 100 ms", d)
		}
	})
}

// When others answer, or could have for a second, the one that goes does not any more.
func TestDepartedIsSilent(t *testing.T) {
	for _, ready := range []bool{true, false} {
		withHandover(t, func(s *speaker, h *fakeHandover, _, _ func()) {
			mine, _ := s.shared("192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15")
			wait := s.Depart()
			s.expectAnnounced(mine...)
			if ready {
				h.ready <- "b"
			}
			wait()
			synctest.Wait()
			s.expectAnnounced()
			s.Renew() // others have missed it
			s.quiesce()
			if !s.layer2.renewed.IsZero() {
				t.Error("it announces again what it has given up")
			}
		})
	}
}

// A node that is missed time and again has its address claimed and answered for by the one
// that takes over, each time until that gives it back: by right.
func TestMissedTimeAndAgain(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	claim := layer2.Claim{Address: address, Interface: "eth0", MAC: squatter} // a speaker, in truth
	for _, tt := range []struct {
		name  string
		every time.Duration
		noted func(*speaker)
	}{
		{"others say so, when it is about to ask", 2100 * time.Millisecond, func(s *speaker) { s.Renew() }},
		{"others come back, when it is about to ask", 2100 * time.Millisecond, func(s *speaker) { s.members.set("a", "b") }},
		{"others say so, when nobody has answered", 7 * time.Second, func(s *speaker) { s.Renew() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
				for range 10 {
					lan.have(map[netip.Addr][6]byte{address: squatter})
					c.Hear(claim)
					time.Sleep(200 * time.Millisecond) // it knows of that later
					tt.noted(s)
					time.Sleep(500 * time.Millisecond)
					lan.have(nil)
					time.Sleep(tt.every - 700*time.Millisecond)
				}
				s.quiesce()
				s.expectEvents()
				s.expectContested("")
				if lan.repeated != 0 {
					t.Error("the address is defended against the speaker that has taken over")
				}
			})
		})
	}
}

// shared has addresses shared out among the members, and returns those of this node and of
// others.
func (s *speaker) shared(addresses ...string) (mine, theirs []string) {
	s.t.Helper()
	ad := advertisement()
	ad.Generation = time.Now().UnixNano()
	s.inventory.OnL2Advertisement(nil, ad)
	s.inventory.OnService(service("web", "192.0.2.1"), nil)
	for _, a := range addresses {
		add(s.inventory, "web-"+a, a)
	}
	s.quiesce()
	mine = s.layer2.addresses()
	here := make(map[string]struct{})
	for _, a := range mine {
		here[a] = struct{}{}
	}
	for _, a := range addresses {
		if _, ok := here[a]; !ok {
			theirs = append(theirs, a)
		}
	}
	if len(mine) == 0 {
		s.t.Fatal("this node has none of the addresses")
	}
	return mine, theirs
}

// line is a record of the log.
type line struct {
	Level, Msg, MAC string
	Count           int
}

// A station that has many addresses is one record, and claims alone are none that an operator
// sees: each address that changes hands is claimed.
func TestContestsInTheLog(t *testing.T) {
	const many = 50
	contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
		out := new(journal)
		c.Log = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		expect := func(what string, want ...line) {
			t.Helper()
			synctest.Wait()
			var got []line
			for decoder := json.NewDecoder(out.take()); decoder.More(); {
				var l line
				s.must(decoder.Decode(&l))
				got = append(got, l)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("logged %s (-want +got):\n%s", what, diff)
			}
		}
		stations := make(map[netip.Addr][6]byte)
		for i := range many {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
			stations[a] = squatter
			s.must(s.layer2.Announce(layer2.Announcement{Address: a}))
		}
		lan.have(stations)
		for a := range stations {
			c.Hear(layer2.Claim{Address: a, Interface: "eth0", MAC: squatter})
		}
		const mac = "02:ff:00:00:00:00"
		expect("at once")
		time.Sleep(tallyTime)
		expect("of claims", line{"DEBUG", "another station claims addresses", mac, many})
		time.Sleep(5 * time.Second)
		expect("of contests", line{"WARN", "another station has addresses", mac, many})
		lan.have(nil)
		time.Sleep(time.Minute)
		expect("of their end", line{"INFO", "no other station has the addresses any more", mac, many})
	})
}

// journal keeps what is written to it.
type journal struct {
	mu      sync.Mutex // guards written
	written bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.written.Write(p)
}

// take returns what has been written since the last call.
func (j *journal) take() *bytes.Buffer {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := bytes.NewBuffer(bytes.Clone(j.written.Bytes()))
	j.written.Reset()
	return taken
}

func (s *speaker) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
