// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
)

// fakeTable remembers what it was told, and what was announced at that time.
type fakeTable struct {
	layer2   *fakeLayer2
	entries  []flows.Entry
	unusable error

	mu    sync.Mutex // guards calls
	calls []string
}

func (f *fakeTable) Keep(former map[netip.Addr]netip.Addr, d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a, node := range former {
		f.calls = append(f.calls, fmt.Sprintf("%s from %s for %s, announced %v", a, node, d, f.layer2.addresses()))
	}
	return nil
}

func (f *fakeTable) Forget(node netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "forget "+node.String())
	return nil
}

func (f *fakeTable) Entries() ([]flows.Entry, error) { return f.entries, nil }

func (f *fakeTable) Prune() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "prune")
	return nil
}

// heard says whether the table was told something.
func (f *fakeTable) heard(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

func (f *fakeTable) Count() (flows.Count, error) { return flows.Count{PassedOn: 7}, nil }

// expect compares what the table was told since the last call.
func (f *fakeTable) expect(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.calls)
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("told to the table (-want +got):\n%s", diff)
	}
	f.calls = nil
}

// fakeFormers are nodes of which some are dead.
type fakeFormers struct {
	takes time.Duration

	mu     sync.Mutex // guards what follows
	dead   []string
	unable bool // there is no interface to ask on
}

func (f *fakeFormers) die(nodes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = nodes
}

// Ask takes its time for a silence only.
func (f *fakeFormers) Ask(_ context.Context, asked []layer2.Announcement, _ bool) (layer2.Outcome, bool) {
	f.mu.Lock()
	who := asked[0].Address.String()
	if strings.HasPrefix(who, "192.0.2.") {
		who = ours
	}
	dead := slices.Contains(f.dead, who)
	unable := f.unable
	f.mu.Unlock()
	if unable {
		return layer2.Unable, false
	}
	if !dead {
		return layer2.Answered, true
	}
	time.Sleep(f.takes)
	return layer2.Silence, false
}

// keeping is a speaker on node a that keeps connections, with nodes b and c beside.
type keeping struct {
	*speaker
	table *fakeTable
	lan   *fakeFormers
}

const (
	// asked is how long a question takes that nobody answers.
	asked = 40 * time.Millisecond
	// ours are the addresses of Services.
	ours = "ours"

	nodeB, nodeC = "10.0.0.99", "10.0.0.100"
	isWeb        = "192.0.2.1"
)

// keepConnections runs f with a speaker that has not settled.
func keepConnections(t *testing.T, f func(k *keeping), options ...option) {
	t.Helper()
	keepConnectionsBy(t, new(fakeTable), f, options...)
}

// keepConnectionsBy does the same with a table of the test's own.
func keepConnectionsBy(t *testing.T, table *fakeTable, f func(k *keeping), options ...option) {
	t.Helper()
	k := &keeping{table: table, lan: &fakeFormers{takes: asked}}
	options = append(options, func(c *Config) {
		k.table.layer2 = c.Layer2.(*fakeLayer2)
		c.LAN = k.lan
		c.Connections = NewConnections(ConnectionsConfig{
			Open: func() (ConnectionTable, error) { return k.table, k.table.unusable },
			LAN:  k.lan, Lifetime: time.Hour, Log: slog.New(slog.DiscardHandler),
		})
	})
	synctest.Test(t, func(t *testing.T) {
		k.speaker = newSpeaker(t, "a", newFakeStatusAPI(), options...)
		k.links.snapshot = []link.Interface{{Index: 1, Name: "eth0", MAC: [6]byte{2}, Up: true, ARP: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.98/24")}}}
		fill(k.inventory, "a", "b", "c")
		k.members.set("a", "b", "c")
		add(k.inventory, "web", isWeb)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = k.Connections.Run(ctx) }) // it has no error
		stop := k.start()
		f(k)
		cancel()
		group.Wait()
		stop()
	})
}

// only lets nobody but one node announce.
func (k *keeping) only(name string) {
	ad := advertisement()
	ad.Generation = time.Now().UnixNano()
	ad.Spec.NodeSelectors = selecting(name)
	k.inventory.OnL2Advertisement(nil, ad)
	k.quiesce()
}

// keptFrom is what the table is told of the address; announced is what was at that time.
func keptFrom(node string, d time.Duration, announced ...string) string {
	return fmt.Sprintf("%s from %s for %s, announced %v", isWeb, node, d, announced)
}

// keptFromB is what the table is told of addresses that node b had.
func keptFromB(addresses, announced []string) []string {
	var told []string
	for _, a := range addresses {
		told = append(told, fmt.Sprintf("%s from %s for %s, announced %v", a, nodeB, time.Hour, announced))
	}
	return told
}

// Packets are passed on to whoever had the address before anybody hears that it has come,
// and no longer once that one has it again.
func TestConnectionsAreKept(t *testing.T) {
	keepConnections(t, func(k *keeping) {
		k.only("b")
		k.settle()
		k.table.expect(t)
		k.only("a")
		k.expectAnnounced(isWeb)
		k.table.expect(t, keptFrom(nodeB, time.Hour))
		k.only("c")
		k.table.expect(t) // who was here is known here, and the others are with b
		k.only("a")
		k.table.expect(t, keptFrom(nodeC, time.Hour))
		k.only("c")
		k.table.expect(t, keptFrom(nodeB, time.Hour, isWeb)) // b is the one left that c does not know of
		k.only("b")
		k.table.expect(t, keptFrom(nodeB, formerLingers), "prune")
		k.only("c")
		k.table.expect(t)
	})
}

// An address that comes back by another way than it went reaches all who have had it: whoever
// gives it back leads on to those who had it before.
func TestTrails(t *testing.T) {
	keepConnections(t, func(k *keeping) {
		k.only("c")
		k.settle()
		k.only("b")
		k.table.expect(t)
		k.only("a")
		k.table.expect(t, keptFrom(nodeB, time.Hour))
		k.only("b")
		k.table.expect(t, keptFrom(nodeC, time.Hour, isWeb))
	})
}

// Packets of connections that have begun at the new owner may still come here.
func TestConnectionsAreKeptByWhoGivesAway(t *testing.T) {
	keepConnections(t, func(k *keeping) {
		k.members.set("a")
		k.only("a")
		k.settle()
		k.members.set("a", "c")
		k.only("c")
		k.table.expect(t, keptFrom(nodeC, formerLingers, isWeb), "prune")
	})
}

// A node that was cut off answers again when it knows who has taken over: it is told, or
// nobody has. A link that was down for so short a time that nobody noticed is used at once.
func TestReunionWithConnections(t *testing.T) {
	for name, c := range map[string]struct {
		down, until time.Duration
		missed      bool
		dead        []string // who does not answer for addresses
	}{
		"unnoticed": {down: unnoticed - time.Millisecond},
		"missed":    {down: time.Second, until: 500 * time.Millisecond, missed: true},
		"replaced":  {down: time.Second, until: reunionTime},
		"not heard": {down: time.Second, until: reunionTime, dead: []string{ours, nodeB, nodeC}},
		"all down":  {down: time.Second, until: lookAroundEnough*asked + (lookAroundEnough-1)*lookAroundAgain, dead: []string{ours}},
	} {
		t.Run(name, func(t *testing.T) {
			keepConnections(t, func(k *keeping) {
				k.members.set("a", "b")
				for i := range 8 { // some of them are this node's
					add(k.inventory, fmt.Sprint("more", i), fmt.Sprint("192.0.2.1", i))
				}
				k.settle()
				mine := k.layer2.addresses()
				k.table.expect(t)
				k.lan.die(c.dead...)
				k.carrier(false)
				time.Sleep(c.down)
				k.carrier(true)
				synctest.Wait()
				k.expectUp(c.until == 0)
				if c.until == 0 {
					return
				}
				time.Sleep(c.until - time.Millisecond)
				k.expectUp(false)
				time.Sleep(time.Millisecond)
				if c.missed {
					k.Renew()
				}
				synctest.Wait()
				k.expectUp(true)
				if c.missed {
					k.table.expect(t, keptFromB(mine, mine)...)
				}
			})
		})
	}
}

// carrier has eth0 lose its carrier, or get it back.
func (k *keeping) carrier(up bool) {
	k.links.mu.Lock()
	defer k.links.mu.Unlock()
	k.links.snapshot = slices.Clone(k.links.snapshot)
	k.links.snapshot[0].Up = up
	if up {
		k.links.snapshot[0].Ups++
	}
	ring(k.links.changed)
}

// A speaker that starts finds out who has had its addresses meanwhile.
func TestConnectionsAreKeptAtTheStart(t *testing.T) {
	g := &grapevine{ears: make(map[lb.NodeName]*Facts)}
	keepConnections(t, func(k *keeping) {
		k.members.set("a", "b")
		b := facts.Statement{Node: "b", Boot: 1, Seq: 1, Term: 1, Whole: true}
		var held []string
		for i := range 8 { // some of them are this node's, and half of them b has taken over
			address := fmt.Sprint("192.0.2.1", i)
			add(k.inventory, fmt.Sprint("more", i), address)
			if i%2 > 0 {
				held = append(held, address)
				b.Claims = append(b.Claims, facts.Claim{Address: netip.MustParseAddr(address), Epoch: 1, Home: "a"})
			}
		}
		k.Facts.Hear([]facts.Statement{b})
		k.settle()
		mine := k.layer2.addresses()
		if len(mine) < len(held) {
			k.t.Fatalf("%v are announced here, and %v are held for this node", mine, held)
		}
		k.table.expect(t, keptFromB(held, nil)...)

		// Others have missed it for a moment: all that it has may be theirs now. What they
		// do not claim stays with whom it was with.
		k.Facts.Hear([]facts.Statement{{Node: "b", Boot: 1, Seq: 2, Term: 1, Whole: true}})
		k.Renew()
		k.quiesce()
		rest := slices.DeleteFunc(slices.Clone(mine), func(a string) bool { return slices.Contains(held, a) })
		if len(rest) == 0 {
			k.t.Fatalf("all of %v were another's", mine)
		}
		k.table.expect(t, keptFromB(rest, mine)...)
		if k.layer2.renewed.IsZero() {
			t.Error("it did not announce again")
		}
	}, g.talking("a", Immediate))
}

// A cluster that starts has nothing to keep.
func TestNothingIsKeptThatNobodyHad(t *testing.T) {
	g := &grapevine{ears: make(map[lb.NodeName]*Facts)}
	keepConnections(t, func(k *keeping) {
		for i := range 8 {
			add(k.inventory, fmt.Sprint("more", i), fmt.Sprint("192.0.2.1", i))
		}
		k.settle()
		if len(k.layer2.addresses()) == 0 {
			t.Fatal("nothing is announced here")
		}
		k.table.expect(t)
	}, g.talking("a", Immediate))
}

// Whoever starts alone has taken nothing from anybody.
func TestNothingIsKept(t *testing.T) {
	for name, options := range map[string][]option{"alone": nil, "without gossip": {withoutGossip}} {
		t.Run(name, func(t *testing.T) {
			keepConnections(t, func(k *keeping) {
				k.members.set("a")
				k.only("a")
				k.settle()
				k.expectAnnounced(isWeb)
				k.table.expect(t)
			}, options...)
		})
	}
}

// A node that cannot be reached directly gets nothing.
func TestFormerIsNotOnLink(t *testing.T) {
	keepConnections(t, func(k *keeping) {
		k.links.set("eth0")
		k.only("b")
		k.settle()
		k.only("a")
		k.expectAnnounced(isWeb)
		k.table.expect(t)
	})
}

// A node that is dead is forgotten at once, one that dies a few seconds later.
func TestFormersDie(t *testing.T) {
	for name, dies := range map[string]time.Duration{"before": 0, "later": time.Minute} {
		t.Run(name, func(t *testing.T) {
			keepConnections(t, func(k *keeping) {
				k.only("b")
				k.settle()
				if dies == 0 {
					k.lan.die(nodeB)
				}
				ad := advertisement()
				ad.Generation = time.Now().UnixNano()
				ad.Spec.NodeSelectors = selecting("a")
				k.inventory.OnL2Advertisement(nil, ad)
				synctest.Wait()
				k.table.expect(t, keptFrom(nodeB, time.Hour))
				limit := formerSilences * k.lan.takes
				if dies > 0 {
					time.Sleep(dies)
					k.table.expect(t)
					k.lan.die(nodeB, nodeC)
					limit = formerSilences*lookAfterFormers + k.lan.takes
				}
				time.Sleep(limit)
				synctest.Wait()
				if forgotten := "forget " + nodeB; !k.table.heard(forgotten) {
					t.Errorf("the table is not told to %s within %s", forgotten, limit)
				}
				time.Sleep(time.Minute)
				k.table.expect(t, "forget "+nodeB, "prune")
			})
		})
	}
}

// A process that is late may have missed answers.
func TestLateQuestionsSayNothing(t *testing.T) {
	keepConnections(t, func(k *keeping) {
		k.lan.takes = promptQuestion + time.Millisecond
		k.lan.die(nodeB)
		k.only("b")
		k.settle()
		k.only("a")
		k.table.expect(t, keptFrom(nodeB, time.Hour))
		time.Sleep(time.Minute)
		k.table.expect(t)
	})
}

// What is in force when the process starts is looked after like everything else.
func TestEntriesAreAdopted(t *testing.T) {
	left := []flows.Entry{{Address: netip.MustParseAddr(isWeb), Former: netip.MustParseAddr(nodeC), Left: time.Minute}}
	keepConnectionsBy(t, &fakeTable{entries: left}, func(k *keeping) {
		k.only("b")
		k.settle()
		k.table.expect(t)
		k.only("c")
		k.table.expect(t, keptFrom(nodeC, formerLingers), "prune")
		k.lan.die(nodeC)
		time.Sleep(time.Minute) // nothing leads there any more
		k.table.expect(t)
	})
}

// Without a kernel that can do it, addresses move all the same.
func TestNoTable(t *testing.T) {
	keepConnectionsBy(t, &fakeTable{unusable: errors.New("not permitted")}, func(k *keeping) {
		k.only("b")
		k.settle()
		k.only("a")
		k.expectAnnounced(isWeb)
		k.table.expect(t)
	})
}

// Before the interfaces are known nobody can be asked, and nobody counts as gone.
func TestNobodyCanBeAsked(t *testing.T) {
	left := []flows.Entry{{Address: netip.MustParseAddr(isWeb), Former: netip.MustParseAddr(nodeC), Left: time.Hour}}
	keepConnectionsBy(t, &fakeTable{entries: left}, func(k *keeping) {
		k.lan.mu.Lock()
		k.lan.unable = true
		k.lan.mu.Unlock()
		k.only("b")
		k.settle()
		time.Sleep(time.Minute)
		k.table.expect(t)
	})
}
