// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

// herd is some speakers whose network fails now and then. They notice that one after the
// other, and of what they say some is late or lost.
type herd struct {
	t        *testing.T
	r        *rand.Rand
	failback Failback
	nodes    []string
	addrs    []string
	created  int

	mu       sync.Mutex // guards what follows
	luck     *rand.Rand // of what is said
	speakers map[string]*speaker
	stops    map[string]func()
	// side tells apart who cannot hear each other; dazed are those that do not notice it.
	side  map[string]int
	dazed map[string]bool
	// views are whom each speaker counts as alive.
	views map[string]map[string]bool
	due   []notice

	// equip changes what a speaker works with.
	equip   func(h *herd, c *Config, node string)
	lans    map[string]*herdLAN
	minders []context.CancelFunc
}

// notice is when a speaker is to look whether it hears another.
type notice struct {
	by, of string
	at     time.Time
}

func newHerd(t *testing.T, seed uint64, failback Failback, equip func(*herd, *Config, string)) *herd {
	h := &herd{
		t: t, r: rand.New(rand.NewPCG(seed, 5)), luck: rand.New(rand.NewPCG(seed, 6)), failback: failback, speakers: make(map[string]*speaker),
		stops: make(map[string]func()), side: make(map[string]int), dazed: make(map[string]bool), views: make(map[string]map[string]bool),
		equip: equip, lans: make(map[string]*herdLAN),
	}
	for i := range 3 + h.r.IntN(3) {
		h.nodes = append(h.nodes, string(rune('a'+i)))
	}
	for range 3 + h.r.IntN(8) {
		h.create()
	}
	for _, n := range h.nodes {
		h.prepare(n)
	}
	for _, n := range h.nodes {
		h.start(n)
	}
	h.pass(5 * time.Second)
	return h
}

func (h *herd) create() {
	h.created++
	a := fmt.Sprintf("192.0.2.%d", h.created)
	h.addrs = append(h.addrs, a)
	for _, s := range h.speakers {
		add(s.inventory, "web-"+a, a)
	}
}

// remove takes the oldest Service away.
func (h *herd) remove() string {
	a := h.addrs[0]
	h.addrs = h.addrs[1:]
	for _, s := range h.speakers {
		s.inventory.OnService(service("web-"+a, a), nil)
	}
	return a
}

// prepare makes a speaker that knows of everything but claims.
func (h *herd) prepare(n string) {
	name := lb.NodeName(n)
	s := newSpeaker(h.t, name, newFakeStatusAPI(), func(c *Config) {
		c.Facts, c.Rumours, c.Failback = NewFacts(name), mouth{h, n}, h.failback
		h.equip(h, c, n)
	})
	fill(s.inventory, h.nodes...)
	for _, a := range h.addrs {
		add(s.inventory, "web-"+a, a)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.speakers[n] = s
	h.views[n] = make(map[string]bool)
	for _, other := range h.nodes {
		h.views[n][other] = h.side[other] == h.side[n]
	}
}

// start runs a speaker, which hears first what others claim.
func (h *herd) start(n string) {
	h.show(n)
	for _, other := range h.nodes {
		h.exchange(n, other)
	}
	s := h.speakers[n]
	h.stops[n] = s.start()
	s.source.set()
	close(s.links.ready)
	close(s.members.settled)
}

// mouth is what a speaker of a herd speaks with.
type mouth struct {
	*herd
	node string
}

func (m mouth) Say(s facts.Statement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.nodes {
		if m.side[other] != m.side[m.node] || other == m.node || m.luck.IntN(10) == 0 {
			continue
		}
		time.AfterFunc(time.Duration(m.luck.IntN(150))*time.Millisecond, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if ear := m.speakers[other]; m.side[other] == m.side[m.node] {
				ear.Facts.Hear([]facts.Statement{s})
			}
		})
	}
}

func (h *herd) exchange(x, y string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x != y && h.side[x] == h.side[y] {
		a, b := h.speakers[x].Facts, h.speakers[y].Facts
		b.Hear(a.Everything())
		a.Hear(b.Everything())
	}
}

// pass lets time pass.
func (h *herd) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		now := time.Now()
		h.due = slices.DeleteFunc(h.due, func(n notice) bool {
			if n.at.After(now) {
				return false
			}
			h.views[n.by][n.of] = h.side[n.by] == h.side[n.of]
			h.show(n.by)
			return true
		})
		if now.UnixMilli()%200 < 10 {
			h.probe()
		}
	}
	synctest.Wait()
}

// probe has everybody find out what one other knows: see gossip.
func (h *herd) probe() {
	for _, x := range h.nodes {
		y := h.nodes[h.r.IntN(len(h.nodes))]
		if h.speakers[x].Facts.Fingerprint() != h.speakers[y].Facts.Fingerprint() {
			h.exchange(x, y)
		}
	}
}

// show tells a speaker whom it counts as alive.
func (h *herd) show(n string) {
	var alive []lb.NodeName
	for _, other := range h.nodes {
		if h.views[n][other] || other == n {
			alive = append(alive, lb.NodeName(other))
		}
	}
	h.speakers[n].members.set(alive...)
}

// connect puts nodes on sides, which everybody notices in his own time.
func (h *herd) connect(side func(node string) int) {
	h.mu.Lock()
	for _, n := range h.nodes {
		h.side[n] = side(n)
	}
	h.mu.Unlock()
	for _, x := range h.nodes {
		for _, y := range h.nodes {
			if x != y && !h.dazed[x] {
				h.due = append(h.due, notice{x, y, time.Now().Add(time.Duration(50+h.r.IntN(1000)) * time.Millisecond)})
			}
		}
	}
}

// owners returns who announces each address; it fails if not exactly one of the nodes does.
func (h *herd) owners(what string, among ...string) map[string]string {
	h.t.Helper()
	owners := make(map[string]string)
	for _, n := range among {
		for _, a := range h.speakers[n].layer2.addresses() {
			if owners[a] != "" {
				h.t.Errorf("%s: %s is announced by %s and by %s", what, a, owners[a], n)
			}
			owners[a] = n
		}
	}
	for _, a := range h.addrs {
		if owners[a] == "" {
			h.t.Errorf("%s: nobody announces %s", what, a)
		}
	}
	return owners
}

func (h *herd) end() {
	for _, n := range h.nodes {
		h.stops[n]()
	}
	for _, cancel := range h.minders {
		cancel()
	}
}

// some returns a minority of the nodes, in any order, and the others.
func (h *herd) some() (few, most []string) {
	all := slices.Clone(h.nodes)
	h.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := 1 + h.r.IntN((len(all)-1)/2)
	return all[:n], all[n:]
}

// calamity is what happens to a herd, and who among it can go on.
func (h *herd) calamity() (what string, undo func(), most []string) {
	few, most := h.some()
	cut := func(n string) int { return 1 + slices.Index(few, n)*h.r.IntN(2) }
	together := func(n string) int { return min(1, 1+slices.Index(few, n)) }
	heal := func() { h.connect(func(string) int { return 0 }) }
	switch h.r.IntN(5) {
	case 0:
		h.connect(together)
		return fmt.Sprintf("%v are cut off together", few), heal, most
	case 1:
		sides := make(map[string]int)
		for _, n := range few {
			sides[n] = cut(n) + 1
		}
		h.connect(func(n string) int { return sides[n] })
		return fmt.Sprintf("%v are cut off", few), heal, most
	case 2:
		h.dazed[few[0]] = true
		h.connect(func(n string) int { return slices.Index([]string{n}, few[0]) + 1 })
		return few[0] + " is frozen", func() { heal(); delete(h.dazed, few[0]) }, slices.DeleteFunc(slices.Clone(h.nodes), func(n string) bool { return n == few[0] })
	case 3:
		h.connect(func(n string) int { return slices.Index(h.nodes, n) })
		return "all are alone", heal, nil
	default:
		gone := few[0]
		h.stops[gone]()
		h.prepare(gone) // its process: another one will start
		h.connect(func(n string) int { return slices.Index([]string{n}, gone) + 1 })
		rest := slices.DeleteFunc(slices.Clone(h.nodes), func(n string) bool { return n == gone })
		return gone + " is killed", func() { heal(); h.prepare(gone); h.start(gone) }, rest
	}
}

// Whatever happens to whom, when everybody is back each address has one owner. Under
// failback Immediate it is the one that it had before. Under Never it is the one that it
// had where most of the speakers were, and nothing has moved because somebody is back. A
// Service that comes or goes moves nothing at all.
func TestCalamities(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			failback := Failback(seed % 2)
			h := newHerd(t, seed, failback, func(*herd, *Config, string) {})
			defer h.end()
			for range 6 {
				before := h.owners("at first", h.nodes...)
				what, undo, most := h.calamity()
				lasting := h.r.IntN(2) == 0
				if lasting {
					h.pass(time.Duration(2500+h.r.IntN(5000)) * time.Millisecond)
				} else {
					h.pass(time.Duration(h.r.IntN(1500)) * time.Millisecond)
				}
				during := before
				if lasting && most != nil {
					during = h.owners(what, most...)
				}
				undo()
				h.pass(8 * time.Second)
				what = fmt.Sprintf("seed %d, %d nodes: %s, for long: %t; all are back", seed, len(h.nodes), what, lasting)
				after := h.owners(what, h.nodes...)
				switch {
				case failback == Immediate:
					h.expectBack(what, before, after)
				case lasting: // else it is uncertain who has noticed whose absence
					h.expectKept(what, during, after)
				}
				if t.Failed() {
					return
				}
				h.create()
				h.pass(2 * time.Second)
				then := h.owners("then", h.nodes...)
				h.expectKept(fmt.Sprintf("seed %d: a Service was created", seed), after, then)
				delete(then, h.remove())
				h.pass(2 * time.Second)
				h.expectKept(fmt.Sprintf("seed %d: a Service was deleted", seed), then, h.owners("last", h.nodes...))
			}
		})
	}
}

// expectKept compares owners.
func (h *herd) expectKept(what string, during, after map[string]string) {
	h.t.Helper()
	for a, owner := range during {
		if after[a] != owner {
			h.t.Errorf("%s: %s was %s's and is %s's", what, a, owner, after[a])
		}
	}
}

// expectBack is expectKept, but for what those had too much who had more than their limit.
func (h *herd) expectBack(what string, before, after map[string]string) {
	h.t.Helper()
	loads := make(map[string]int)
	for _, owner := range before {
		loads[owner]++
	}
	for a, owner := range before {
		switch {
		case after[a] == owner:
		case loads[after[a]] == 0: // who has nothing is as good as new
		case loads[owner] > elect.Limit(len(before), len(h.nodes)):
			loads[owner]--
		default:
			h.t.Errorf("%s: %s was %s's and is %s's", what, a, owner, after[a])
		}
	}
}
