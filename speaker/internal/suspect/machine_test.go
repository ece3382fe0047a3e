// SPDX-License-Identifier: Apache-2.0

package suspect_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// world is one machine, "a", and the time.
type world struct {
	*suspect.Machine
	t   *testing.T
	now time.Time
}

func names(ns ...lb.NodeName) map[lb.NodeName]struct{} {
	set := make(map[lb.NodeName]struct{})
	for _, n := range ns {
		set[n] = struct{}{}
	}
	return set
}

func nobodyLeft(lb.NodeName) bool { return false }

// begin is a cluster in which all sessions are up.
func begin(t *testing.T, others ...lb.NodeName) *world {
	t.Helper()
	w := &world{suspect.New("a"), t, time.Unix(1000, 0)}
	w.Members(names(others...), nobodyLeft, w.now)
	for _, n := range others {
		w.Up(n)
	}
	w.Take()
	return w
}

// pass lets time go by, and what is due happen.
func (w *world) pass(d time.Duration) suspect.Output {
	end := w.now.Add(d)
	for next := w.Next(); !next.IsZero() && !next.After(end); next = w.Next() {
		w.now = next
		w.Advance(w.now)
	}
	w.now = end
	return w.Take()
}

func (w *world) silent(n lb.NodeName) { w.Down(n, true, false, w.now) }

func (w *world) answered(n lb.NodeName, a suspect.Answer, company bool) {
	w.Answered(n, a, company, w.now)
}

func (w *world) expectPresent(want ...lb.NodeName) {
	w.t.Helper()
	if diff := cmp.Diff(append([]lb.NodeName{"a"}, want...), slices.Sorted(maps.Keys(w.Present()))); diff != "" {
		w.t.Errorf("present (-want +got):\n%s", diff)
	}
}

func (w *world) expect(got, want suspect.Output) {
	w.t.Helper()
	got.Notes = nil
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("output (-want +got):\n%s", diff)
	}
}

func say(k suspect.Kind, node lb.NodeName) []suspect.Message {
	return []suspect.Message{{Kind: k, Node: node, By: "a"}}
}

func TestNobodyAnswers(t *testing.T) {
	w := begin(t, "b", "c")
	w.silent("b")
	w.expect(w.Take(), suspect.Output{Ask: []lb.NodeName{"b"}, Tell: say(suspect.Suspect, "b")})
	w.expectPresent("b", "c")
	w.answered("b", suspect.Nobody, true)
	w.expect(w.Take(), suspect.Output{Changed: true, Tell: say(suspect.Gone, "b")})
	w.expectPresent("c")
	// Gossip comes to the same, later.
	w.Members(names("c"), nobodyLeft, w.now)
	w.expect(w.Take(), suspect.Output{})
	// It is heard of before gossip knows: everybody is told.
	w.Up("b")
	w.expect(w.Take(), suspect.Output{Changed: true, Tell: say(suspect.Back, "b"), Seek: []lb.NodeName{"b"}})
	w.expectPresent("b", "c")
}

func TestSomebodyAnswers(t *testing.T) {
	w := begin(t, "b", "c")
	w.silent("b")
	w.answered("b", suspect.Somebody, true)
	w.Take()
	w.expectPresent("b", "c")
	// Gossip takes it for dead: the LAN is asked again, and counts.
	w.Members(names("c"), nobodyLeft, w.now)
	w.expect(w.Take(), suspect.Output{Ask: []lb.NodeName{"b"}})
	w.answered("b", suspect.Somebody, true)
	w.Take()
	w.expectPresent("b", "c")
	// It is asked for until it does not answer any more.
	w.expect(w.pass(2*time.Second), suspect.Output{Ask: []lb.NodeName{"b"}})
	w.answered("b", suspect.Nobody, true)
	w.expectPresent("c")
}

// What is said in each situation, and what it comes to.
func TestDoubts(t *testing.T) {
	tests := map[string]struct {
		others  []lb.NodeName
		happens func(w *world)
		want    []lb.NodeName // present
	}{
		"the neighbor says itself that the session is down": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Down("b", false, false, w.now)
			w.answered("b", suspect.Nobody, true) // nobody has asked
		}, []lb.NodeName{"b", "c"}},
		"this process was late, and the session is up again": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Down("b", true, true, w.now)
			w.Up("b")
			w.pass(time.Second)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"b", "c"}},
		"this process was late, and the neighbor is gone": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Down("b", true, true, w.now)
			w.pass(time.Second)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"c"}},
		"alone": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.silent("c")
			w.answered("b", suspect.Nobody, false)
			w.answered("c", suspect.Nobody, false)
			w.Members(names(), nobodyLeft, w.now)
			w.answered("b", suspect.NothingToInherit, false)
			w.answered("c", suspect.Nobody, false)
		}, []lb.NodeName{"b", "c"}},
		"alone, until something is heard on the LAN": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.silent("c")
			w.answered("b", suspect.Nobody, false)
			w.answered("c", suspect.Nobody, false)
			w.pass(time.Second)
			w.answered("b", suspect.Nobody, true)
			w.answered("c", suspect.Nobody, true)
		}, nil},
		"two nodes": {[]lb.NodeName{"b"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.Nobody, false)
		}, nil},
		"no link to ask on": {[]lb.NodeName{"b"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.Unable, false)
			w.Members(names(), nobodyLeft, w.now)
			w.answered("b", suspect.Unable, false)
		}, []lb.NodeName{"b"}},
		"others second it": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.Told(suspect.Message{Kind: suspect.Suspect, Node: "b", By: "c"}, false, w.now)
			w.answered("b", suspect.Nobody, false)
		}, []lb.NodeName{"c"}},
		"others suspect one that is heard here": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Told(suspect.Message{Kind: suspect.Suspect, Node: "b", By: "c"}, true, w.now)
			w.Told(suspect.Message{Kind: suspect.Gone, Node: "b", By: "c"}, true, w.now)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"b", "c"}},
		"gossip takes one for dead that is heard here": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Members(names("c"), nobodyLeft, w.now)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"b", "c"}},
		"others suspect one before it is silent here": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Told(suspect.Message{Kind: suspect.Suspect, Node: "b", By: "c"}, false, w.now)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"c"}},
		"others suspect one before it is silent here, and it is there": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Told(suspect.Message{Kind: suspect.Suspect, Node: "b", By: "c"}, false, w.now)
			w.answered("b", suspect.Somebody, true)
			w.pass(time.Minute)
			w.answered("b", suspect.Nobody, true) // nobody has asked
		}, []lb.NodeName{"b", "c"}},
		"another has confirmed what is silent here": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.Told(suspect.Message{Kind: suspect.Gone, Node: "b", By: "c"}, false, w.now)
			w.answered("b", suspect.Somebody, true) // c answers in its place
		}, []lb.NodeName{"c"}},
		"another has confirmed what falls silent here then": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Told(suspect.Message{Kind: suspect.Gone, Node: "b", By: "c"}, false, w.now)
			w.silent("b")
		}, []lb.NodeName{"c"}},
		"others are its heirs, and say so": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.NothingToInherit, true)
			w.Told(suspect.Message{Kind: suspect.Gone, Node: "b", By: "c"}, false, w.now)
			w.answered("b", suspect.NothingToInherit, true)
		}, []lb.NodeName{"c"}},
		"others are its heirs, and do not say so": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.NothingToInherit, true)
		}, []lb.NodeName{"b", "c"}},
		"left": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Members(names("c"), func(n lb.NodeName) bool { return n == "b" }, w.now)
			w.Down("b", false, false, w.now)
		}, []lb.NodeName{"c"}},
		"left, as is known when gossip has missed it": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Up("b")
			w.Members(names("c"), nobodyLeft, w.now)
			w.expectPresent("b", "c")
			w.Members(names("c"), func(n lb.NodeName) bool { return n == "b" }, w.now)
		}, []lb.NodeName{"c"}},
		"left, and its farewell was lost": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Up("b")
			w.Members(names("c"), nobodyLeft, w.now)
			w.Down("b", false, false, w.now)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"c"}},
		"left and came back": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.Members(names("c"), func(n lb.NodeName) bool { return n == "b" }, w.now)
			w.Members(names("b", "c"), nobodyLeft, w.now)
		}, []lb.NodeName{"b", "c"}},
		"gone, and contradicts": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.Nobody, true)
			w.Told(suspect.Message{Kind: suspect.Here, Node: "b", By: "b"}, false, w.now)
		}, []lb.NodeName{"b", "c"}},
		"another vouches for one that gossip never sees again": {[]lb.NodeName{"b", "c"}, func(w *world) {
			w.silent("b")
			w.answered("b", suspect.Nobody, true)
			w.Members(names("c"), nobodyLeft, w.now)
			w.Told(suspect.Message{Kind: suspect.Here, Node: "b", By: "c"}, false, w.now)
			w.expectPresent("b", "c")
			w.pass(time.Minute)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"c"}},
		"the heir of one goes, too": {[]lb.NodeName{"b", "c", "d"}, func(w *world) {
			w.silent("b")
			w.silent("c")
			w.answered("b", suspect.NothingToInherit, true) // it is c's
			w.answered("c", suspect.Nobody, true)
			w.pass(0)
			w.answered("b", suspect.Nobody, true)
		}, []lb.NodeName{"d"}},
		"a stranger": {[]lb.NodeName{"b"}, func(w *world) {
			w.Up("x")
			w.Down("x", true, false, w.now)
			w.Told(suspect.Message{Kind: suspect.Here, Node: "x", By: "b"}, false, w.now)
		}, []lb.NodeName{"b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := begin(t, tt.others...)
			tt.happens(w)
			w.expectPresent(tt.want...)
		})
	}
}

// A process that was late is silent for a moment. If others have taken over meanwhile it
// contradicts, and announces again; if not, nobody notices.
func TestLate(t *testing.T) {
	w := begin(t, "b", "c")
	w.Late(w.now)
	if !w.Doubting() {
		t.Error("not in doubt")
	}
	w.expect(w.pass(time.Second), suspect.Output{Resume: true})
	if w.Doubting() {
		t.Error("still in doubt")
	}
	w.Late(w.now)
	w.Told(suspect.Message{Kind: suspect.Gone, Node: "a", By: "b"}, false, w.now)
	w.expect(w.Take(), suspect.Output{})
	w.expect(w.pass(time.Second), suspect.Output{Resume: true, Renew: true, Tell: say(suspect.Here, "a")})
	// Without having been late it contradicts at once.
	w.Told(suspect.Message{Kind: suspect.Gone, Node: "a", By: "b"}, false, w.now)
	w.expect(w.Take(), suspect.Output{Renew: true, Tell: say(suspect.Here, "a")})
	// Who is back for others announces again what they may have claimed.
	w.Told(suspect.Message{Kind: suspect.Back, Node: "a", By: "b"}, false, w.now)
	w.expect(w.Take(), suspect.Output{Renew: true})
	// What is only suspected needs no answer: the LAN gives it.
	w.Told(suspect.Message{Kind: suspect.Suspect, Node: "a", By: "b"}, false, w.now)
	w.expect(w.Take(), suspect.Output{})
}

// Each suspicion is counted with what became of it.
func TestCounts(t *testing.T) {
	w := begin(t, "b", "c")
	w.silent("b")
	w.answered("b", suspect.Somebody, true)
	w.pass(time.Minute)
	w.answered("b", suspect.Somebody, true) // the same again
	w.Up("b")
	w.silent("b")
	w.answered("b", suspect.Nobody, true)
	w.Up("b")
	got := make(map[string]uint64)
	counts := w.Counts()
	counts.Each(func(e suspect.Event, c suspect.Cause, n uint64) {
		if n > 0 {
			got[e.String()+" "+c.String()] = n
		}
	})
	want := map[string]uint64{"suspected bfd": 2, "refuted bfd": 1, "cleared bfd": 1, "confirmed bfd": 1, "returned bfd": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
