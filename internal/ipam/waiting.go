// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/btree"

	"github.com/herald-lb/herald/internal/lb"
)

// wait is what, short of other pools, could turn a refusal into a grant. The zero
// value is nothing.
type wait struct {
	// line is where claimants stand that a free address in one of needs would
	// serve, or one in use that is shared under key. All in one line are alike: if
	// the first cannot be served, none can.
	line  string
	needs []need
	// key is their sharing key. Empty: they do not share.
	key string
	// addrs are requested addresses that others have.
	addrs []netip.Addr
}

// need is an address of one family from one pool.
type need struct {
	pool   string
	family lb.Family
}

// poolWait is the wait for an address of the families from the pools.
func poolWait(c *claimant, groups [][]*pool, families []lb.Family) wait {
	s := c.claim.Service
	w := wait{key: s.SharingKey}
	var line strings.Builder
	fmt.Fprintf(&line, "%s %t", s.FamilyPolicy, c.mixes())
	if s.SharingKey != "" {
		t, _ := termsOf([]*claimant{c})
		fmt.Fprintf(&line, "|%q %t %q %t %q", s.SharingKey, t.local, t.backends, t.lenient, t.ports)
	}
	for _, f := range families {
		line.WriteString(f.String())
	}
	for _, group := range groups {
		line.WriteByte('|')
		for _, p := range group {
			line.WriteString(p.Name)
			line.WriteByte(',')
			for _, f := range families {
				if p.has(f) {
					w.needs = append(w.needs, need{p.Name, f})
				}
			}
		}
	}
	w.line = line.String()
	return w
}

// waiting finds those who wait for what has become available.
type waiting struct {
	lines  map[string]*line
	byNeed map[need]lines
	byKey  map[string]lines
	byAddr map[netip.Addr]ages
	// count is the number of claimants that have not all they claim.
	count int
}

// line is a queue of claimants that wait for the same.
type line struct {
	needs []need
	key   string
	ages
}

type lines map[*line]struct{}

// ages is a set of claimants, the oldest first.
type ages struct{ *btree.BTreeG[*claimant] }

func newAges() ages { return ages{btree.NewG(degree, older)} }

func newWaiting() *waiting {
	return &waiting{
		lines:  map[string]*line{},
		byNeed: map[need]lines{},
		byKey:  map[string]lines{},
		byAddr: map[netip.Addr]ages{},
	}
}

func (w *waiting) add(c *claimant) {
	if c.unmet() {
		w.count++
	}
	if c.waits.line != "" {
		w.lineOf(c.waits).ReplaceOrInsert(c)
	}
	for _, addr := range c.waits.addrs {
		if _, ok := w.byAddr[addr]; !ok {
			w.byAddr[addr] = newAges()
		}
		w.byAddr[addr].ReplaceOrInsert(c)
	}
}

// remove must be called before the claim of c, its verdict or its wait changes.
func (w *waiting) remove(c *claimant) {
	if c.unmet() {
		w.count--
	}
	if l, ok := w.lines[c.waits.line]; ok {
		l.Delete(c)
		w.closeIfEmpty(c.waits.line, l)
	}
	for _, addr := range c.waits.addrs {
		w.byAddr[addr].Delete(c)
		if w.byAddr[addr].Len() == 0 {
			delete(w.byAddr, addr)
		}
	}
	c.verdict, c.lacking, c.waits = nil, "", wait{}
}

func (w *waiting) lineOf(v wait) *line {
	if l, ok := w.lines[v.line]; ok {
		return l
	}
	l := &line{v.needs, v.key, newAges()}
	w.lines[v.line] = l
	for _, n := range l.needs {
		open(w.byNeed, n, l)
	}
	if l.key != "" {
		open(w.byKey, l.key, l)
	}
	return l
}

func (w *waiting) closeIfEmpty(name string, l *line) {
	if l.Len() > 0 {
		return
	}
	delete(w.lines, name)
	for _, n := range l.needs {
		shut(w.byNeed, n, l)
	}
	if l.key != "" {
		shut(w.byKey, l.key, l)
	}
}

func open[K comparable](index map[K]lines, k K, l *line) {
	if index[k] == nil {
		index[k] = lines{}
	}
	index[k][l] = struct{}{}
}

func shut[K comparable](index map[K]lines, k K, l *line) {
	delete(index[k], l)
	if len(index[k]) == 0 {
		delete(index, k)
	}
}
