// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// play runs a schedule by its own word for a time, as its caller does, and calls
// each for every announcement.
func play(s *schedule, from, to time.Time, each func(a netip.Addr, at time.Time)) {
	for now := from; now.Before(to); {
		for {
			a, ok := s.next(now)
			if !ok {
				break
			}
			each(a, now)
		}
		wait, ok := s.wait(now)
		if !ok {
			return
		}
		now = now.Add(max(wait, time.Microsecond)) // a timer takes some time
	}
}

func TestScheduleOfOneAddress(t *testing.T) {
	epoch := time.Unix(0, 0)
	s := newSchedule(DefaultRefresh, 2, epoch)
	a := netip.MustParseAddr("192.0.2.1")
	s.add(a, epoch)
	var at []time.Duration
	play(s, epoch, epoch.Add(10*time.Minute), func(_ netip.Addr, now time.Time) { at = append(at, now.Sub(epoch)) })
	if len(at) < 8 {
		t.Fatalf("announced at %v, want four times and then every 120 s", at)
	}
	for i, want := range []time.Duration{0, earlyInterval, earlyInterval + time.Second, earlyInterval + 2*time.Second} {
		if at[i] != want {
			t.Errorf("round %d at %v, want %v", i+1, at[i], want)
		}
	}
	if first := at[4] - at[3]; first <= 0 || first > DefaultRefresh {
		t.Errorf("first refresh after %v, want within %v", first, DefaultRefresh)
	}
	for i := 5; i < len(at); i++ {
		if gap := at[i] - at[i-1]; gap != DefaultRefresh {
			t.Errorf("refresh after %v, want %v", gap, DefaultRefresh)
		}
	}
}

func TestScheduleAddTwiceAndRemove(t *testing.T) {
	epoch := time.Unix(0, 0)
	s := newSchedule(DefaultRefresh, 2, epoch)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s.add(a, epoch)
	s.add(b, epoch)
	s.remove(b)
	s.remove(b)
	count := map[netip.Addr]int{}
	tally := func(x netip.Addr, _ time.Time) { count[x]++ }
	play(s, epoch, epoch.Add(1500*time.Millisecond), tally)
	s.add(a, epoch.Add(1500*time.Millisecond))
	play(s, epoch.Add(1500*time.Millisecond), epoch.Add(2500*time.Millisecond), tally)
	if count[a] != 4 || count[b] != 0 {
		t.Errorf("announcements %v, want 4 of %s and none of %s", count, a, b)
	}
	s.remove(a)
	if _, ok := s.wait(epoch); ok || len(s.items) != 0 {
		t.Error("an empty schedule waits for something")
	}
}

// Ten thousand addresses at once: the first rounds within seconds, no more
// packets in any interval than the budget has, and refreshes that do not come
// together.
func TestScheduleOfTenThousand(t *testing.T) {
	const n, packets = 10_000, 2
	epoch := time.Unix(0, 0)
	s := newSchedule(DefaultRefresh, packets, epoch)
	for i := range n {
		s.add(testAddress(2*i), epoch)
	}
	var all []time.Duration
	rounds := map[netip.Addr][]time.Duration{}
	play(s, epoch, epoch.Add(6*time.Minute), func(a netip.Addr, now time.Time) {
		at := now.Sub(epoch)
		all = append(all, at)
		rounds[a] = append(rounds[a], at)
	})
	if len(rounds) != n {
		t.Fatalf("%d addresses announced, want %d", len(rounds), n)
	}
	firsts := make([]time.Duration, 0, n)
	for _, at := range rounds {
		firsts = append(firsts, at[0])
	}
	slices.Sort(firsts)
	if got, want := firsts[n-1], time.Duration(n*packets)*time.Second/firstRate; got > want {
		t.Errorf("the last first round is after %v, want at most %v", got, want)
	}
	if got := firsts[499]; got > 200*time.Millisecond {
		t.Errorf("500 addresses are announced after %v, want 200 ms", got)
	}
	checkRate(t, all, 0, firsts[n-1], firstRate/packets)
	checkRate(t, all, firsts[n-1], 60*time.Second, repeatRate/packets)
	// From the third minute on all bursts are over: 10 000 refreshes in 120 s.
	checkRate(t, all, 180*time.Second, 360*time.Second, n/120*3/2)
}

// checkRate fails if any second between from and to has more announcements than
// rate, beyond what slack lets be caught up.
func checkRate(t *testing.T, at []time.Duration, from, to time.Duration, rate int) {
	t.Helper()
	limit := rate + int(float64(rate)*repeatSlack.Seconds()) + 1
	begin := 0
	for end := range at {
		for at[begin] < from || at[end]-at[begin] >= time.Second {
			begin++
			if begin > end {
				break
			}
		}
		if at[end] < from || at[end] >= to || begin > end {
			continue
		}
		if n := end - begin + 1; n > limit {
			t.Fatalf("%d announcements in the second up to %v, want at most %d", n, at[end], limit)
		}
	}
}

// A new address does not wait behind the repetitions of ten thousand others.
func TestScheduleFirstRoundsGoFirst(t *testing.T) {
	epoch := time.Unix(0, 0)
	s := newSchedule(DefaultRefresh, 2, epoch)
	for i := range 10_000 {
		s.add(testAddress(2*i), epoch)
	}
	later := epoch.Add(6 * time.Second) // amid the second rounds
	play(s, epoch, later, func(netip.Addr, time.Time) {})
	fresh := netip.MustParseAddr("192.0.2.1")
	s.add(fresh, later)
	var at time.Time
	play(s, later, later.Add(time.Second), func(a netip.Addr, now time.Time) {
		if a == fresh && at.IsZero() {
			at = now
		}
	})
	if wait := at.Sub(later); wait > time.Millisecond {
		t.Errorf("announced after %v", wait)
	}
}
