// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
)

// Failback says what becomes of an address whose old owner comes back. It is a
// flag.Value, and must be the same on all nodes. The zero value is Immediate.
type Failback uint8

// The policies of failback.
const (
	// Immediate gives the address back, as in MetalLB.
	Immediate Failback = iota
	// Never leaves the address where it is until that node goes, or ceases to be among
	// the best candidates.
	Never
)

// String returns the name of the policy in flags.
func (f *Failback) String() string {
	if *f == Never {
		return "never"
	}
	return "immediate"
}

// Set reads the name of the policy.
func (f *Failback) Set(name string) error {
	for _, known := range []Failback{Immediate, Never} {
		if known.String() == name {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("want immediate or never")
}

// Rumours spread what this node says about itself. gossip.Members do.
type Rumours interface {
	// Say does not block, and does not promise that everybody hears it at once.
	Say(facts.Statement)
}

// Facts are what speakers have said about themselves. Its methods are safe for concurrent
// use.
type Facts struct {
	changed chan struct{}
	print   atomic.Uint64 // of the board

	mu    sync.Mutex // guards what follows
	board *facts.Board
	news  facts.News
}

// NewFacts returns what is known when the speaker on that node starts: nothing.
func NewFacts(node lb.NodeName) *Facts {
	boot := uint64(time.Now().UnixNano()) // more than before a restart
	f := &Facts{changed: make(chan struct{}, 1), board: facts.NewBoard(node, boot)}
	f.print.Store(f.board.Fingerprint())
	return f
}

// Everything returns what is known of everybody.
func (f *Facts) Everything() []facts.Statement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Everything()
}

// Hear takes note of statements, and says whether one is fresh.
func (f *Facts) Hear(statements []facts.Statement) (fresh bool) {
	f.mu.Lock()
	defer f.unlock()
	for _, s := range statements {
		news := f.board.Hear(s)
		fresh = fresh || news.Fresh
		f.note(news)
	}
	return fresh
}

// Fingerprint is a number that those have in common who know the same.
func (f *Facts) Fingerprint() uint64 { return f.print.Load() }

// unlock ends a change of the board.
func (f *Facts) unlock() {
	f.print.Store(f.board.Fingerprint())
	f.mu.Unlock()
}

// note collects what has changed until take is called.
func (f *Facts) note(n facts.News) {
	if !n.Subnets && len(n.Addresses) == 0 {
		return
	}
	f.news.Subnets = f.news.Subnets || n.Subnets
	f.news.Addresses = append(f.news.Addresses, n.Addresses...)
	ring(f.changed)
}

// take returns what has changed since the last call.
func (f *Facts) take() facts.News {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.news
	f.news = facts.News{}
	return n
}

func (f *Facts) keep(nodes []lb.Node) {
	names := make(map[lb.NodeName]struct{}, len(nodes))
	for i := range nodes {
		names[nodes[i].Name] = struct{}{}
	}
	f.mu.Lock()
	defer f.unlock()
	f.note(f.board.Keep(names))
}

func (f *Facts) subnets() map[lb.NodeName][]netip.Prefix {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Subnets()
}

// setSubnets returns what is to be said about it, if anything.
func (f *Facts) setSubnets(subnets []netip.Prefix) []facts.Statement {
	f.mu.Lock()
	defer f.unlock()
	s, ok := f.board.SetSubnets(subnets)
	if !ok {
		return nil
	}
	f.note(facts.News{Subnets: true})
	return []facts.Statement{s}
}

func (f *Facts) claims() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Claims()
}

// claimants returns the node that the address is held for, and the one whose claim counts
// among those that are alive; empty for none.
func (f *Facts) claimants(a netip.Addr, alive map[lb.NodeName]struct{}) (home, holder lb.NodeName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	holder, home = f.board.Tenure(a, alive)
	return home, holder
}

// claimed says whether this node claims the address.
func (f *Facts) claimed(a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Claimed(a)
}

// outbid returns the addresses that this node claims, and another with more weight.
func (f *Facts) outbid(alive map[lb.NodeName]struct{}) map[netip.Addr]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Outbid(alive)
}

// claim returns what is to be said about the addresses that this node has taken and given,
// and whether claims are left in doubt.
func (f *Facts) claim(taken facts.Taking, given []netip.Addr) (said []facts.Statement, doubt bool) {
	f.mu.Lock()
	defer f.unlock()
	said, doubt = f.board.Claim(taken, given)
	f.noteSaid(said)
	return said, doubt
}

// rehome holds addresses for another node, and returns what is to be said.
func (f *Facts) rehome(addresses []netip.Addr, home lb.NodeName) []facts.Statement {
	f.mu.Lock()
	defer f.unlock()
	said := f.board.Rehome(addresses, home)
	f.noteSaid(said)
	return said
}

// demote makes claims that are later than a term minor, and returns what is to be said.
func (f *Facts) demote(since uint32) []facts.Statement {
	f.mu.Lock()
	defer f.unlock()
	said := f.board.Demote(since)
	f.noteSaid(said)
	return said
}

func (f *Facts) noteSaid(said []facts.Statement) {
	for _, s := range said {
		for _, c := range s.Claims {
			f.note(facts.News{Addresses: []netip.Addr{c.Address}})
		}
	}
}

func (f *Facts) bury(gone int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.board.Bury(gone)
}

func (f *Facts) term() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Term()
}

// factsChanged rings when others have said something; nil without facts.
func (l *Loop) factsChanged() <-chan struct{} {
	if l.Facts == nil {
		return nil
	}
	return l.Facts.changed
}

// takeFacts adds the addresses whose claims have changed to set.
func (l *Loop) takeFacts(set map[netip.Addr]struct{}) {
	if l.Facts == nil {
		return
	}
	news := l.Facts.take()
	l.stale = l.stale || news.Subnets && !l.IgnoreSubnets
	for _, a := range news.Addresses {
		set[a] = struct{}{}
	}
}

// tellSubnets says which subnets this node has interfaces in.
func (l *Loop) tellSubnets(links []link.Interface, announcing []layer2.Interface) {
	if l.Facts == nil {
		return
	}
	named := make(map[string]struct{}, len(announcing))
	for _, i := range announcing {
		if announcesWhenUp(i) {
			named[i.Name] = struct{}{}
		}
	}
	set := make(map[netip.Prefix]struct{})
	for i := range links {
		if _, ok := named[links[i].Name]; !ok {
			continue
		}
		for _, p := range subnetsOf(&links[i]) {
			set[p] = struct{}{}
		}
	}
	l.say(l.Facts.setSubnets(slices.SortedFunc(maps.Keys(set), netip.Prefix.Compare)))
}

func (l *Loop) say(statements []facts.Statement) {
	for _, s := range statements {
		l.Rumours.Say(s)
	}
}
