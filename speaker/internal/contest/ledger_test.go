// SPDX-License-Identifier: Apache-2.0

package contest_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/speaker/internal/contest"
)

var (
	ledgerStart = time.Unix(1_000_000, 0)
	rogue       = contest.Station{MAC: [6]byte{2, 0xff}, Interface: "eth0"}
	other       = contest.Station{MAC: [6]byte{2, 0xfe}, Interface: "eth0"}
)

const (
	rogueMAC = "02:ff:00:00:00:00"
	otherMAC = "02:fe:00:00:00:00"
)

func address(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, last}) }

func by(s contest.Station, lasts ...byte) map[netip.Addr]contest.Station {
	m := make(map[netip.Addr]contest.Station)
	for _, last := range lasts {
		m[address(last)] = s
	}
	return m
}

func wantTasks(t *testing.T, when string, got []contest.Task, want ...contest.Task) {
	t.Helper()
	sort := cmpopts.SortSlices(func(a, b contest.Task) bool { return a.Address.Less(b.Address) })
	if diff := cmp.Diff(want, got, sort, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// What is contested here is recorded, and the entry extended for as long as that lasts.
func TestLedgerOfContests(t *testing.T) {
	l := contest.NewLedger("a")
	a, now := address(1), ledgerStart
	held := func(netip.Addr) bool { return true }
	wantTasks(t, "nothing contested", l.Tasks(nil, held, now))
	record := contest.Task{Step: contest.Record, Address: a, By: rogueMAC, Lasts: 10 * time.Minute}
	wantTasks(t, "contested", l.Tasks(by(rogue, 1), held, now), record)
	wantTasks(t, "contested, and not written", l.Tasks(by(rogue, 1), held, now), record)

	e := contest.Entry{By: rogueMAC, Keeper: "a", Created: now, Lasts: 10 * time.Minute}
	l.Enter(a, e)
	wantTasks(t, "written", l.Tasks(by(rogue, 1), held, now))
	now = now.Add(6 * time.Minute)
	wantTasks(t, "near the end", l.Tasks(by(rogue, 1), held, now), contest.Task{Step: contest.Extend, Address: a, By: rogueMAC, Lasts: 16 * time.Minute})
	e.Lasts = 16 * time.Minute
	l.Enter(a, e)
	wantTasks(t, "extended", l.Tasks(by(rogue, 1), held, now))
	wantTasks(t, "another station", l.Tasks(by(other, 1), held, now), contest.Task{Step: contest.Extend, Address: a, By: otherMAC, Lasts: 16 * time.Minute})
	e.Keeper = "b"
	l.Enter(a, e)
	wantTasks(t, "kept by another node", l.Tasks(by(rogue, 1), held, now), contest.Task{Step: contest.Extend, Address: a, By: rogueMAC, Lasts: 16 * time.Minute})
	wantTasks(t, "another node's, as far as known", l.Tasks(nil, held, now))

	l.End(a)
	erase := contest.Task{Step: contest.Erase, Address: a}
	wantTasks(t, "no longer contested", l.Tasks(nil, held, now), erase)
	wantTasks(t, "no longer contested, and not written", l.Tasks(nil, held, now), erase)
	l.Strike(a)
	wantTasks(t, "erased", l.Tasks(nil, held, now))
	l.Enter(a, e)
	wantTasks(t, "recorded anew by another node", l.Tasks(nil, held, now))
}

// What no Service has any more is asked for by the keeper of its entry, until nobody
// answers three times.
func TestLedgerOfOrphans(t *testing.T) {
	l := contest.NewLedger("a")
	now := ledgerStart
	for i, keeper := range []string{"a", "b"} {
		l.Enter(address(byte(i)), contest.Entry{By: rogueMAC, Keeper: keeper, Created: now, Lasts: 10 * time.Minute})
	}
	a := address(0)
	isHeld := true
	tasks := func() []contest.Task { return l.Tasks(nil, func(netip.Addr) bool { return isHeld }, now) }
	wantTasks(t, "a Service has it", tasks())
	isHeld = false
	ask := contest.Task{Step: contest.Probe, Address: a}
	for range 20 {
		wantTasks(t, "nobody has it", tasks(), ask)
		wantTasks(t, "asked a moment ago", tasks())
		if task, more := l.Find(a, rogue, now); more {
			if task.Step != contest.Extend || task.Lasts < 10*time.Minute {
				t.Fatalf("what follows is %+v", task)
			}
			l.Enter(a, contest.Entry{By: rogueMAC, Keeper: "a", Created: ledgerStart, Lasts: task.Lasts})
		}
		now = now.Add(time.Minute)
	}
	for i := range 5 {
		wantTasks(t, "silence", tasks(), ask)
		if i == 1 {
			l.Find(a, rogue, now) // it was not gone yet
		} else if _, erase := l.Miss(a); erase != (i == 4) {
			t.Errorf("question %d: erased: %v", i, erase)
		}
		now = now.Add(time.Minute)
	}
	wantTasks(t, "gone, and not written", tasks(), contest.Task{Step: contest.Erase, Address: a})
	l.Strike(a)
	wantTasks(t, "erased", tasks())
}

// A station that answers for everything does not take everything out of use.
func TestLedgerOfProxies(t *testing.T) {
	l := contest.NewLedger("a")
	var written []netip.Addr
	omitted := 0
	contested := by(rogue, 1, 2, 3, 4, 5, 6, 7)
	for range 10 {
		for _, task := range l.Tasks(contested, func(netip.Addr) bool { return true }, ledgerStart) {
			switch task.Step {
			case contest.Record:
				written = append(written, task.Address)
				l.Enter(task.Address, contest.Entry{By: rogueMAC, Keeper: "a", Created: ledgerStart, Lasts: task.Lasts})
			case contest.Omit:
				omitted++
			}
		}
	}
	slices.SortFunc(written, netip.Addr.Compare)
	if len(slices.Compact(written)) != 4 || omitted != 1 {
		t.Errorf("%v are recorded, and it is said %d times that others are not; want 4 and once", written, omitted)
	}
	if got := l.Tasks(by(other, 9), func(netip.Addr) bool { return true }, ledgerStart); len(got) != 1 || got[0].Step != contest.Record {
		t.Errorf("another station's address: %+v, want it recorded", got)
	}
}
