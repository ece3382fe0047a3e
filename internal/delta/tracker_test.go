// SPDX-License-Identifier: Apache-2.0

package delta_test

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/delta"
)

// oracle is the obvious tracker: two maps, compared anew for every question.
type oracle struct{ desired, actual map[int]int }

// sameDecade is an equality that differs from ==, as real ones do.
func sameDecade(a, b int) bool { return a/10 == b/10 }

func (o oracle) updates() map[int]int {
	pending := map[int]int{}
	for k, v := range o.desired {
		if have, ok := o.actual[k]; !ok || !sameDecade(have, v) {
			pending[k] = v
		}
	}
	return pending
}

func (o oracle) deletions() map[int]int {
	pending := map[int]int{}
	for k, v := range o.actual {
		if _, ok := o.desired[k]; !ok {
			pending[k] = v
		}
	}
	return pending
}

// decades makes values comparable that the tracker takes for one another.
func decades(m map[int]int) map[int]int {
	rough := make(map[int]int, len(m))
	for k, v := range m {
		rough[k] = v / 10
	}
	return rough
}

func TestTrackerAgreesWithOracle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			tracker := delta.New[int](sameDecade)
			want := oracle{map[int]int{}, map[int]int{}}
			for step := range 300 {
				change(random, tracker, want)
				if diff := difference(tracker, want); diff != "" {
					t.Fatalf("after step %d (-want +got):\n%s", step, diff)
				}
			}
		})
	}
}

// change makes the same random change to both.
func change(random *rand.Rand, tracker *delta.Tracker[int, int], o oracle) {
	k, v := random.IntN(12), random.IntN(30)
	switch random.IntN(5) {
	case 0:
		tracker.SetDesired(k, v)
		o.desired[k] = v
	case 1:
		tracker.DeleteDesired(k)
		delete(o.desired, k)
	case 2:
		tracker.SetActual(k, v)
		o.actual[k] = v
	case 3:
		tracker.DeleteActual(k)
		delete(o.actual, k)
	case 4: // What an owner does: apply some of what is pending.
		for k, v := range tracker.PendingUpdates() {
			if random.IntN(2) == 0 {
				tracker.SetActual(k, v)
				o.actual[k] = v
			}
		}
		for k := range tracker.PendingDeletions() {
			if random.IntN(2) == 0 {
				tracker.DeleteActual(k)
				delete(o.actual, k)
			}
		}
	}
}

func difference(tracker *delta.Tracker[int, int], o oracle) string {
	type view struct {
		Desired, Actual, Updates, Deletions                     map[int]int
		CountDesired, CountActual, CountUpdates, CountDeletions int
		InSync                                                  bool
	}
	updates, deletions := o.updates(), o.deletions()
	want := view{
		decades(o.desired), decades(o.actual), updates, decades(deletions),
		len(o.desired), len(o.actual), len(updates), len(deletions), len(updates)+len(deletions) == 0,
	}
	got := view{
		decades(maps.Collect(tracker.AllDesired())), decades(maps.Collect(tracker.AllActual())),
		maps.Collect(tracker.PendingUpdates()), decades(maps.Collect(tracker.PendingDeletions())),
		tracker.CountDesired(), tracker.CountActual(), tracker.CountUpdates(), tracker.CountDeletions(), tracker.InSync(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return diff
	}
	for k := range 12 {
		desired, wanted := tracker.Desired(k)
		actual, exists := tracker.Actual(k)
		if d, ok := o.desired[k]; ok != wanted || !sameDecade(d, desired) {
			return fmt.Sprintf("Desired(%d) = %d, %v; want %d, %v", k, desired, wanted, d, ok)
		}
		if a, ok := o.actual[k]; ok != exists || !sameDecade(a, actual) {
			return fmt.Sprintf("Actual(%d) = %d, %v; want %d, %v", k, actual, exists, a, ok)
		}
	}
	return ""
}

// What failed stays pending, and what was overtaken by a new wish does too.
func TestSuccessReportedLate(t *testing.T) {
	t.Parallel()
	tracker := delta.NewComparable[string, string]()
	tracker.SetDesired("a", "old")
	tracker.SetDesired("a", "new")
	tracker.SetActual("a", "old") // The work begun before the second wish.
	want := map[string]string{"a": "new"}
	if diff := cmp.Diff(want, maps.Collect(tracker.PendingUpdates())); diff != "" {
		t.Errorf("pending updates (-want +got):\n%s", diff)
	}

	tracker.DeleteDesired("a")
	tracker.SetDesired("a", "again")
	tracker.DeleteActual("a") // The deletion that is wanted no more.
	want = map[string]string{"a": "again"}
	if diff := cmp.Diff(want, maps.Collect(tracker.PendingUpdates())); diff != "" {
		t.Errorf("pending updates (-want +got):\n%s", diff)
	}
}

func TestStopIteration(t *testing.T) {
	t.Parallel()
	tracker := delta.NewComparable[int, int]()
	for k := range 3 {
		tracker.SetDesired(k, 0)
		tracker.SetActual(k, k%2)
		tracker.SetActual(10+k, 0)
	}
	for name, seq := range map[string]iter.Seq2[int, int]{
		"PendingUpdates":   tracker.PendingUpdates(),
		"PendingDeletions": tracker.PendingDeletions(),
		"AllDesired":       tracker.AllDesired(),
		"AllActual":        tracker.AllActual(),
	} {
		steps := 0
		for range seq {
			steps++
			break
		}
		if steps != 1 {
			t.Errorf("%s: %d steps before the first break; want 1", name, steps)
		}
	}
}

// An entry that is settled while a loop runs, by the loop or behind its back, is not
// yielded any more; and a loop inside the loop, which makes a new map, does not bring
// it back.
func TestChangesDuringIteration(t *testing.T) {
	t.Parallel()
	tracker := delta.NewComparable[int, int]()
	for k := range 1000 {
		tracker.SetDesired(k, k)
	}
	yielded := map[int]bool{}
	for k := range tracker.PendingUpdates() {
		if yielded[k] {
			t.Fatalf("%d was yielded twice", k)
		}
		if _, ok := tracker.Actual(k); ok {
			t.Fatalf("%d was yielded after it was applied", k)
		}
		yielded[k] = true
		// Settle all but every hundredth key, at once.
		for other := range 1000 {
			if other%100 != 0 {
				tracker.SetActual(other, other)
			}
		}
		for range tracker.PendingUpdates() {
			break
		}
	}
	if got := tracker.CountUpdates(); got != 10 {
		t.Errorf("%d updates are pending; want 10", got)
	}
	if len(yielded) < 10 || len(yielded) > 11 {
		t.Errorf("%d keys were yielded; want the 10 that stayed pending and at most the first", len(yielded))
	}
}

func BenchmarkSetDesiredUnchanged(b *testing.B) {
	tracker := delta.NewComparable[int, int]()
	for k := range 10_000 {
		tracker.SetDesired(k, k)
		tracker.SetActual(k, k)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tracker.SetDesired(i%10_000, i%10_000)
	}
}

// The same cost whatever is tracked, and whatever was pending once.
func BenchmarkOneOfMany(b *testing.B) {
	for _, tracked := range []int{1, 100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint("tracked=", tracked), func(b *testing.B) {
			tracker := delta.NewComparable[int, int]()
			for k := range tracked {
				tracker.SetDesired(k, k)
			}
			for k, v := range tracker.PendingUpdates() {
				tracker.SetActual(k, v)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				tracker.SetDesired(0, i+1)
				for k, v := range tracker.PendingUpdates() {
					tracker.SetActual(k, v)
				}
			}
		})
	}
}
