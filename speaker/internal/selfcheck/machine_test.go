// SPDX-License-Identifier: Apache-2.0

package selfcheck_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/selfcheck"
)

var (
	vip   = netip.MustParseAddr("192.0.2.1")
	begin = time.Unix(1_000_000, 0)
)

// step is what came of asking, and so many seconds later.
type step struct {
	outcome selfcheck.Outcome
	owner   lb.NodeName
	want    selfcheck.Change
}

func TestReports(t *testing.T) {
	const (
		void, silence, answered = selfcheck.Void, selfcheck.Silence, selfcheck.Answered
		none, began, ended      = selfcheck.None, selfcheck.Began, selfcheck.Ended
	)
	for name, steps := range map[string][]step{
		"answered":                 {{answered, "a", none}, {answered, "a", none}},
		"reported once":            {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "a", began}, {silence, "a", none}, {answered, "a", ended}, {answered, "a", none}},
		"answered in between":      {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {answered, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "a", began}},
		"void questions":           {{silence, "a", none}, {silence, "a", none}, {void, "a", none}, {void, "a", none}, {silence, "a", none}, {silence, "a", began}, {void, "a", none}, {answered, "a", ended}},
		"only void questions":      {{void, "a", none}, {void, "a", none}, {void, "a", none}, {void, "a", none}, {void, "a", none}},
		"too many void questions":  {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {void, "a", none}, {void, "a", none}, {void, "a", none}, {void, "a", none}, {void, "a", none}, {silence, "a", none}},
		"another owner":            {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "c", none}, {silence, "c", none}, {silence, "c", none}, {silence, "c", began}},
		"another owner, reported":  {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "a", began}, {answered, "c", none}},
		"another owner, as silent": {{silence, "a", none}, {silence, "a", none}, {silence, "a", none}, {silence, "a", began}, {silence, "c", none}},
	} {
		t.Run(name, func(t *testing.T) {
			var m selfcheck.Machine
			now := begin
			for i, s := range steps {
				if got := m.Heard(vip, s.owner, s.outcome, now); got != s.want {
					t.Errorf("step %d: change %d, want %d", i, got, s.want)
				}
				now = now.Add(3 * time.Second)
			}
		})
	}
}

// An address in doubt is asked for again soon, one that was reported now and then, and
// one that has another owner or none not at all.
func TestAsksAgain(t *testing.T) {
	var m selfcheck.Machine
	var asked []int
	for second := range 90 {
		now := begin.Add(time.Duration(second) * time.Second)
		a, ok := m.Take(now)
		if second == 0 {
			a, ok = vip, true
		}
		if !ok {
			continue
		}
		asked = append(asked, second)
		if second < 60 {
			m.Heard(a, "a", selfcheck.Silence, now)
		} else if !m.Drop(a) {
			t.Error("dropped, and had not been reported")
		}
	}
	if diff := cmp.Diff([]int{0, 3, 6, 9, 24, 39, 54, 69}, asked); diff != "" {
		t.Errorf("asked at seconds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[netip.Addr]lb.NodeName{}, m.Silent()); diff != "" {
		t.Errorf("silent (-want +got):\n%s", diff)
	}
}

// A walk looks at each address once, evenly over its interval, and the next one does not
// begin before that is over.
func TestWalk(t *testing.T) {
	const interval = 300 * time.Second
	for _, n := range []int{0, 1, 3, 299, 300, 301, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var m selfcheck.Machine
			all := addresses(n)
			if !m.Over(begin) {
				t.Fatal("there is no walk, and it is not over")
			}
			m.Begin(all, interval, begin)
			var seen []netip.Addr
			for second := range 301 {
				now := begin.Add(time.Duration(second) * time.Second)
				look := m.Look(now)
				if most := n/300 + 2; len(look) > most {
					t.Errorf("second %d: looks at %d, want %d at most", second, len(look), most)
				}
				seen = append(seen, look...)
				if second < 300 && m.Over(now) != (n == 0) {
					t.Errorf("over after %d s: %v", second, m.Over(now))
				}
			}
			if diff := cmp.Diff(all, seen, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("looked at (-want +got):\n%s", diff)
			}
			if !m.Over(begin.Add(interval)) {
				t.Error("not over after the interval")
			}
		})
	}
}

// Whatever is answered, no address is reported without so many silences in a row from one
// owner, and with one question a second nobody waits for ever: neither those of the walk
// for those in doubt, nor the other way round.
func TestProperties(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var m selfcheck.Machine
		n := 1 + r.IntN(200)
		dead := r.Float64() // the share of owners that are silent
		all := addresses(n)
		silences, asked := make(map[netip.Addr]int), make(map[netip.Addr]int)
		reported := make(map[netip.Addr]bool)
		// Each address is asked for once in a walk, and a silent one four times and then
		// now and then: with turns that is everybody within a few walks.
		for second := range 20*n + 600 {
			now := begin.Add(time.Duration(second) * time.Second)
			if m.Over(now) {
				m.Begin(all, time.Minute, now)
			}
			m.Queue(m.Look(now))
			a, ok := m.Take(now)
			if !ok {
				continue
			}
			asked[a]++
			outcome := selfcheck.Answered
			switch {
			case r.Float64() < 0.05:
				outcome = selfcheck.Void
			case float64(a.As4()[3]) < dead*256:
				outcome = selfcheck.Silence
				silences[a]++
			default:
				silences[a] = 0
			}
			switch m.Heard(a, "a", outcome, now) {
			case selfcheck.None:
			case selfcheck.Began:
				if reported[a] || silences[a] < selfcheck.Silences {
					t.Errorf("seed %d: %s reported after %d silences, reported before %v", seed, a, silences[a], reported[a])
				}
				reported[a] = true
			case selfcheck.Ended:
				t.Errorf("seed %d: %s is silent, and said to have answered", seed, a)
			}
		}
		for _, a := range all {
			if silent := float64(a.As4()[3]) < dead*256; asked[a] == 0 || reported[a] != silent {
				t.Errorf("seed %d, %d addresses: %s is silent: %v, asked for %d times, reported: %v", seed, n, a, silent, asked[a], reported[a])
			}
		}
		if m.Found() != n {
			t.Errorf("seed %d: %d addresses found, want %d", seed, m.Found(), n)
		}
	}
}

func addresses(n int) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	return all
}
