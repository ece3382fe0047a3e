// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"testing"
	"time"
)

// requests plays n requests a time apart, and returns how many were waited for
// and how long in all. A reader that waits is busy for the whole gap.
func requests(s *spin, now *time.Duration, n int, gap time.Duration) (waits int, total time.Duration) {
	for range n {
		if patience := s.patience(*now); patience > 0 {
			waits++
			spent := min(patience, gap)
			total += spent
			s.spent(spent)
		}
		*now += gap
		s.answered(*now)
	}
	return waits, total
}

func TestSpinOnlyAmidARun(t *testing.T) {
	now := time.Second
	s := newSpin(2)
	if waits, _ := requests(&s, &now, 1000, 2*spinWindow); waits != 0 {
		t.Errorf("waited for %d of 1000 requests that come every %v", waits, 2*spinWindow)
	}
	if waits, _ := requests(&s, &now, 1000, 20*time.Microsecond); waits < 950 {
		t.Errorf("waited for %d of 1000 requests in quick succession, want nearly all", waits)
	}
	now += time.Second
	if s.patience(now) != 0 {
		t.Error("waits after the run has ended")
	}
	if waits, _ := requests(&s, &now, 1, time.Second); waits != 0 {
		t.Error("waits after a pause")
	}
}

func TestSpinTakesABoundedShare(t *testing.T) {
	now := time.Second
	s := newSpin(2)
	_, first := requests(&s, &now, 3_000_000, 20*time.Microsecond) // a minute
	if first < spinCredit || first > spinCredit+time.Minute/spinShare+time.Second {
		t.Errorf("waited awake for %v in the first minute, want the credit of %v and one in %d", first, spinCredit, spinShare)
	}
	_, second := requests(&s, &now, 3_000_000, 20*time.Microsecond)
	if second > time.Minute/spinShare+time.Second {
		t.Errorf("waited awake for %v in the second minute, want one in %d", second, spinShare)
	}
}

func TestSpinNeedsASecondCore(t *testing.T) {
	now := time.Second
	s := newSpin(1)
	if waits, _ := requests(&s, &now, 1000, time.Microsecond); waits != 0 {
		t.Errorf("waited %d times on the only core", waits)
	}
}

func TestSpinRestsWhenOthersNeedTheCore(t *testing.T) {
	now := time.Second
	s := newSpin(2)
	requests(&s, &now, 1000, 20*time.Microsecond)
	if !s.looked(now, now+time.Microsecond) || s.patience(now) == 0 {
		t.Fatal("rests without a reason")
	}
	for _, tt := range []struct{ taken, rest time.Duration }{
		{spinHiccup, spinRest * spinHiccup},
		{time.Millisecond, spinRest * time.Millisecond},
		{time.Second, spinRestMost},
	} {
		if s.looked(now, now+tt.taken) {
			t.Errorf("goes on after a hiccup of %v", tt.taken)
		}
		now += tt.taken
		s.answered(now)
		requests(&s, &now, 10, time.Microsecond) // the run goes on
		gap := 10 * time.Microsecond
		if waits, _ := requests(&s, &now, int(tt.rest/gap)-10, gap); waits != 0 {
			t.Errorf("waited %d times while resting for %v", waits, tt.rest)
		}
		if waits, _ := requests(&s, &now, 100, gap); waits < 85 {
			t.Errorf("waited %d times in 100 after a rest of %v", waits, tt.rest)
		}
	}
}
