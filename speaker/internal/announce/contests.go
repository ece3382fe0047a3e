// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/speaker/internal/contest"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// ContestPolicy is what becomes of an address that another station has, too.
type ContestPolicy string

// The policies (RFC 5227, section 2.4).
const (
	// Defend goes on announcing the address, and announces it again when another station
	// claims it, once in ten seconds at most.
	Defend ContestPolicy = "defend"
	// Yield does not announce the address until no other station has it.
	Yield ContestPolicy = "yield"
)

// Set implements flag.Value.
func (p *ContestPolicy) Set(s string) error {
	switch ContestPolicy(s) {
	case Defend, Yield:
		*p = ContestPolicy(s)
		return nil
	}
	return fmt.Errorf("want %s or %s", Defend, Yield)
}

// String implements flag.Value.
func (p *ContestPolicy) String() string { return string(*p) }

// LAN answers who else has an address. layer2.Announcer does.
type LAN interface {
	// Who asks who else has the addresses. It takes some tens of milliseconds.
	Who(context.Context, []layer2.Announcement) map[netip.Addr]layer2.Claim
	// Repeat announces an address again.
	Repeat(netip.Addr)
	// Announced returns what is announced of an address; false if nothing is.
	Announced(netip.Addr) (layer2.Announcement, bool)
}

// Reasons of Events on Services.
const (
	eventContested = "AddressContested"
	eventSettled   = "AddressSettled"
)

const (
	// probesAtOnce bounds the addresses of one question, each of which takes three
	// packets: where ten thousand Services are made at once, some wait a little.
	probesAtOnce = 256
	// probeCounts is how long the outcome of a probe is kept for the loop.
	probeCounts = time.Minute
	// lookAgainAfter is how long after its first probe an address is asked for once more:
	// an answer may be lost or late, and many a station says nothing unasked.
	lookAgainAfter = 2 * time.Second
	// claimsWaiting bounds the claims that wait to be looked at; they are repeated.
	claimsWaiting = 64
)

// Contests finds out when an address that this node announces, or is about to announce
// for the first time, is another station's, too. All methods may be called from several
// goroutines at once.
type Contests struct {
	ContestsConfig
	heard chan layer2.Claim
	bell  chan struct{} // probes are waiting
	found chan struct{} // there is something to ask for again

	mu      sync.Mutex // guards what follows
	machine contest.Machine
	// announced are the contested addresses as they are announced, or would be.
	announced map[netip.Addr]layer2.Announcement
	waiting   []layer2.Announcement
	probing   map[netip.Addr]struct{}  // waiting, or being asked for
	probed    map[netip.Addr]time.Time // when the outcome was known
	looks     []look                   // by when they are due
	claims    uint64
	tally     tally
	left      bool // see Leave
}

// look is a second question about addresses that nobody else had.
type look struct {
	due       time.Time
	addresses []layer2.Announcement
}

// ContestsConfig says what Contests work with. LAN is set before Run.
type ContestsConfig struct {
	LAN       LAN
	Policy    ContestPolicy
	Inventory *Inventory
	Events    Events
	// Told is told of contests that begin and end; nil is nobody. It is set before Run.
	Told func(netip.Addr, contest.Change)
	Log  *slog.Logger
}

// NewContests returns Contests that look at nothing yet.
func NewContests(c ContestsConfig) *Contests {
	return &Contests{
		ContestsConfig: c,
		heard:          make(chan layer2.Claim, claimsWaiting),
		bell:           make(chan struct{}, 1),
		found:          make(chan struct{}, 1),
		announced:      make(map[netip.Addr]layer2.Announcement),
		probing:        make(map[netip.Addr]struct{}),
		probed:         make(map[netip.Addr]time.Time),
	}
}

// Hear takes a claim. It does not block.
func (c *Contests) Hear(claim layer2.Claim) {
	select {
	case c.heard <- claim:
	default: // whoever means it claims again
	}
}

// Clear says whether an address may be announced for the first time: whether it has been
// asked for, whatever the answer. If not it is asked for, and the loop decides again when
// there is an answer.
func (c *Contests) Clear(n layer2.Announcement) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.probed[n.Address]; ok {
		delete(c.probed, n.Address)
		return true
	}
	if _, ok := c.probing[n.Address]; !ok {
		c.probing[n.Address] = struct{}{}
		c.waiting = append(c.waiting, n)
		ring(c.bell)
	}
	return false
}

// Yields says whether an address is left to another station.
func (c *Contests) Yields(a netip.Addr) bool {
	if c.Policy != Yield {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, contested := c.machine.Contested(a)
	return contested
}

// all returns the contested addresses of this node, and who else has them.
func (c *Contests) all() map[netip.Addr]contest.Station {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.All()
}

// Drop forgets an address that this node is not to announce.
func (c *Contests) Drop(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(a)
	delete(c.probed, a)
}

// Unsettle has claims looked into anew, because speakers have come or gone.
func (c *Contests) Unsettle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machine.Unsettle(time.Now())
}

// Leave ends all judgement, because this speaker goes: who takes its addresses over has
// them by right, and so have those that go with it and answer until they are gone.
func (c *Contests) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	c.machine = contest.Machine{}
	clear(c.announced)
	c.waiting, c.looks = nil, nil
}

// hasLeft says whether Leave has been called.
func (c *Contests) hasLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// Run looks at claims and asks, until ctx ends, and then returns nil.
func (c *Contests) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return c.probe(ctx) })
	group.Go(func() error { return c.watch(ctx) })
	return group.Wait()
}

// probe asks for addresses that are to be announced for the first time. It is apart from
// watch so that they wait for nothing else.
func (c *Contests) probe(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.bell:
		}
		for batch := c.batch(); len(batch) > 0 && ctx.Err() == nil; batch = c.batch() {
			c.conclude(batch, c.LAN.Who(ctx, batch), true)
		}
	}
}

// batch takes addresses that wait to be probed.
func (c *Contests) batch() []layer2.Announcement {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.waiting), probesAtOnce)
	batch := c.waiting[:n:n]
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
	return batch
}

// watch takes claims, and asks for addresses that are or may be contested.
func (c *Contests) watch(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			c.say(c.counted(time.Now().Add(tallyTime)))
			return nil
		case claim := <-c.heard:
			c.claimed(claim)
		case <-c.found:
		case <-timer.C:
			if due := c.due(); len(due) > 0 {
				c.conclude(due, c.LAN.Who(ctx, due), false)
			}
			c.lookAgain(ctx)
		}
		c.say(c.counted(time.Now()))
		if next, ok := c.next(); ok {
			timer.Reset(time.Until(next))
		}
	}
}

// next returns when there is something to ask for or to log next; false for never.
func (c *Contests) next() (next time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, ok = c.machine.Next()
	if len(c.looks) > 0 && (!ok || c.looks[0].due.Before(next)) {
		next, ok = c.looks[0].due, true
	}
	if due, counting := c.tally.next(); counting && (!ok || due.Before(next)) {
		next, ok = due, true
	}
	return next, ok
}

// claimed takes a claim.
func (c *Contests) claimed(claim layer2.Claim) {
	n, ok := c.LAN.Announced(claim.Address)
	if !ok {
		return
	}
	by := contest.Station{MAC: claim.MAC, Interface: claim.Interface}
	now := time.Now()
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return
	}
	c.claims++
	c.announced[claim.Address] = n
	defend := c.machine.Hear(claim.Address, by, now)
	c.tally.add(contest.None, claim.Address, by, now)
	c.mu.Unlock()
	c.react(claim.Address, by, defend, contest.None)
}

// react does what follows from a claim or a question.
func (c *Contests) react(a netip.Addr, by contest.Station, defend bool, change contest.Change) {
	if defend && c.Policy == Defend {
		c.LAN.Repeat(a)
	}
	c.tell(a, by, change)
}

// due returns what to ask for now. An address that has left this node since it was
// claimed, as it does in a handover, is the claimant's by right.
func (c *Contests) due() []layer2.Announcement {
	c.mu.Lock()
	defer c.mu.Unlock()
	var due []layer2.Announcement
	for _, a := range c.machine.Due(time.Now()) {
		_, contested := c.machine.Contested(a)
		if _, announced := c.LAN.Announced(a); announced || contested {
			due = append(due, c.announced[a])
		} else {
			c.forget(a)
		}
	}
	return due
}

// forget drops what is known of an address. The caller holds the lock.
func (c *Contests) forget(a netip.Addr) {
	c.machine.Forget(a)
	delete(c.announced, a)
}

// conclude takes what came of asking. First is whether nothing was announced yet: then a
// station that answers has a claim, no more. It may be a speaker that was told of the
// Service, or of others, a moment sooner.
func (c *Contests) conclude(asked []layer2.Announcement, found map[netip.Addr]layer2.Claim, first bool) {
	type finding struct {
		address netip.Addr
		by      contest.Station
		defend  bool
		change  contest.Change
	}
	var findings []finding
	now := time.Now()
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return
	}
	for _, n := range asked {
		f := finding{address: n.Address}
		if _, known := c.announced[n.Address]; !first && !known {
			continue // it was dropped meanwhile
		}
		if claim, ok := found[n.Address]; ok {
			f.by = contest.Station{MAC: claim.MAC, Interface: claim.Interface}
			c.announced[n.Address] = n
			if first {
				f.defend = c.machine.Hear(n.Address, f.by, now)
			} else {
				f.defend, f.change = c.machine.Find(n.Address, f.by, now)
			}
		} else {
			f.by, _ = c.machine.Contested(n.Address)
			if f.change = c.machine.Miss(n.Address, now); f.change == contest.Began {
				f.by, _ = c.machine.Contested(n.Address)
			}
		}
		if first {
			delete(c.probing, n.Address)
			c.probed[n.Address] = now
		}
		findings = append(findings, f)
	}
	if first {
		c.looks = append(c.looks, look{now.Add(lookAgainAfter), asked})
		ring(c.found)
	}
	for a, at := range c.probed { // nobody has come for it
		if now.Sub(at) > probeCounts {
			delete(c.probed, a)
		}
	}
	c.mu.Unlock()
	for _, f := range findings {
		c.react(f.address, f.by, f.defend, f.change)
	}
	if first {
		c.Inventory.again(asked)
	}
}

// lookAgain asks for addresses once more that are announced for the first time. Whoever
// answers has a claim: in a handover it may be another speaker.
func (c *Contests) lookAgain(ctx context.Context) {
	due := c.dueAgain()
	if len(due) == 0 {
		return
	}
	for _, claim := range c.LAN.Who(ctx, due) {
		c.claimed(claim)
	}
}

// dueAgain takes a look that is due: what is announced, and nobody is known to claim.
func (c *Contests) dueAgain() []layer2.Announcement {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.looks) == 0 || c.looks[0].due.After(time.Now()) {
		return nil
	}
	due := c.looks[0].addresses
	if c.looks = c.looks[1:]; len(c.looks) == 0 {
		c.looks = nil
	}
	return slices.DeleteFunc(due, func(n layer2.Announcement) bool {
		_, announced := c.LAN.Announced(n.Address)
		_, known := c.announced[n.Address]
		return !announced || known
	})
}

// tell tells users and the loop of a change.
func (c *Contests) tell(a netip.Addr, by contest.Station, change contest.Change) {
	mac := by.Hardware()
	switch change {
	case contest.None:
		return
	case contest.Began:
		c.event(a, corev1.EventTypeWarning, eventContested, fmt.Sprintf(
			"%s is also used by the station %s, heard on %s; this node %s. Find that station, or take the address out of the pool",
			a, mac, by.Interface, c.Policy.words()))
	case contest.Ended:
		c.event(a, corev1.EventTypeNormal, eventSettled, fmt.Sprintf("%s is no longer used by the station %s", a, mac))
	}
	c.mu.Lock()
	c.tally.add(change, a, by, time.Now())
	c.mu.Unlock()
	ring(c.found)
	if c.Told != nil {
		c.Told(a, change)
	}
	c.Inventory.again([]layer2.Announcement{{Address: a}})
}

func (p ContestPolicy) words() string {
	if p == Yield {
		return "does not announce it until that ends"
	}
	return "goes on announcing it"
}

// Describe is a prometheus.Collector's.
func (c *Contests) Describe(to chan<- *prometheus.Desc) {
	to <- contestedDesc()
	to <- claimsDesc()
}

// Collect is a prometheus.Collector's.
func (c *Contests) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	all, claims := c.machine.All(), c.claims
	c.mu.Unlock()
	to <- prometheus.MustNewConstMetric(claimsDesc(), prometheus.CounterValue, float64(claims))
	for a, by := range all {
		to <- prometheus.MustNewConstMetric(contestedDesc(), prometheus.GaugeValue, 1, a.String(), by.Hardware())
	}
}

func contestedDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_contested",
		"1 for each address of this node that another station has, too, by that station's hardware address.", []string{"ip", "mac"}, nil)
}

func claimsDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_claims_total",
		"Claims of addresses of this node by other stations, heard on the LAN. When an address changes hands there may be one or two.", nil, nil)
}

func (c *Contests) event(a netip.Addr, kind, reason, message string) {
	c.Inventory.tell(c.Events, a, kind, reason, message)
}

// again has the loop decide on addresses again.
func (v *Inventory) again(announcements []layer2.Announcement) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range announcements {
		if len(v.holders[n.Address]) > 0 {
			v.dirty[n.Address] = struct{}{}
		}
	}
	ring(v.changed)
}
