// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// stuckAfter is how long a round may take before the loop counts as hung. A round
// over a hundred thousand addresses takes about a second.
const stuckAfter = 30 * time.Second

// Members are the speakers that are alive. gossip.Members are some.
type Members interface {
	// SetPeers says which nodes there are and at which addresses.
	SetPeers(nodes map[lb.NodeName][]netip.Addr)
	// Alive returns the members, this one included, in a map of the caller's own.
	Alive() map[lb.NodeName]struct{}
	// Changed rings when Alive has changed.
	Changed() <-chan struct{}
	// Settled is closed when Alive can be believed.
	Settled() <-chan struct{}
}

// Links are the interfaces of this node. link.Watcher has them.
type Links interface {
	// Snapshot returns the interfaces, which must not be modified.
	Snapshot() []link.Interface
	// Changed rings when Snapshot has changed.
	Changed() <-chan struct{}
	// Ready is closed when Snapshot can be believed.
	Ready() <-chan struct{}
}

// Layer2 announces addresses on this node. layer2.Announcer does. Its methods do not
// block, and saying the same twice has no effect.
type Layer2 interface {
	Announce(layer2.Announcement) error
	Withdraw(netip.Addr)
	// Renew announces again all that is announced.
	Renew()
	Follow([]layer2.Interface)
}

// Config says what a Loop works with. All fields but Members, Sources, BGP, Verdict,
// Handover, Contests, Connections and LAN are needed.
type Config struct {
	// Node is the node that this speaker runs on.
	Node lb.NodeName
	// IgnoreExcludeLabel is passed to the plan.
	IgnoreExcludeLabel bool

	Inventory *Inventory
	// Sources fill the inventory, and are waited for.
	Sources []kube.Syncer
	// Configuration are those of Sources that say what peers there are. They are waited
	// for first. Without them, peers are dialled when everything is known.
	Configuration []kube.Syncer
	// Members is nil without gossip: then every node counts as alive.
	Members    Members
	Links      Links
	Exclusions *Exclusions
	Layer2     Layer2
	Events     Events
	Statuses   *Statuses
	// BGP is nil to announce by Layer 2 only.
	BGP *BGP
	// Verdict is nil to tell nobody.
	Verdict Verdict
	// Handover is nil to give addresses up at once.
	Handover Handover
	// Facts are what speakers say about themselves, and Rumours how this one does. Without
	// Facts, subnets do not count and failback is immediate.
	Facts   *Facts
	Rumours Rumours
	// Failback is the policy on addresses whose old owner comes back.
	Failback Failback
	// IgnoreSubnets lets any node announce an address, on its subnet or not.
	IgnoreSubnets bool
	// Contests is nil to ask nobody before an address is announced.
	Contests *Contests
	// Connections is nil to let them break when an address moves.
	Connections *Connections
	// LAN is nil to ask nobody whether others have taken over while a link was down.
	LAN Asker

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Loop makes this node announce what the plan wants it to. Run it once.
type Loop struct {
	Config
	reporter *reporter
	metrics  *metrics
	// routes and complaints are nil without BGP.
	routes     *routes
	complaints *complaints
	inquiries  chan func() // questions to the goroutine of Run: see consult
	departures chan func() // what to do when this speaker ends: see Depart
	synced     chan struct{}
	renewals   chan struct{} // bell

	// What follows belongs to the goroutine of Run.
	ownership  *plan.Ownership
	stale      bool                     // its view has to be made anew
	regrouped  bool                     // members have changed since it was
	members    map[lb.NodeName]struct{} // of the view; nil before there is one
	config     lb.Config
	problems   []lb.Problem // of the configuration
	nodes      []lb.Node
	interfaces map[string]struct{}
	handovers  handovers
	claims     claims
	reunions   reunions
	trails     trails
	room       sharing

	ready atomic.Bool  // the first round is over
	busy  atomic.Int64 // when the current round began, in Unix nanoseconds; 0: none
}

// New returns a loop that has not started.
func New(c Config) *Loop {
	l := &Loop{
		Config: c, ownership: plan.NewOwnership(), stale: true,
		inquiries: make(chan func()), departures: make(chan func()), synced: make(chan struct{}),
		renewals: make(chan struct{}, 1), handovers: newHandovers(),
		claims: newClaims(), reunions: newReunions(), trails: make(trails),
	}
	l.reporter = newReporter(&c)
	if c.BGP != nil {
		l.routes, l.complaints = newRoutes(&c), newComplaints(&c)
	}
	l.metrics = newMetrics(c.Registerer, l)
	return l
}

// Ready returns nil once this node announces all that it should.
func (l *Loop) Ready() error {
	if !l.ready.Load() {
		return fmt.Errorf("waiting for objects, interfaces and members")
	}
	return nil
}

// Synced is closed when the objects are known. Before, this node is not one to rely on,
// and should not be a member.
func (l *Loop) Synced() <-chan struct{} { return l.synced }

// Live returns nil as long as the loop makes progress.
func (l *Loop) Live() error {
	if began := l.busy.Load(); began != 0 {
		if d := time.Since(time.Unix(0, began)); d > stuckAfter {
			return fmt.Errorf("a round has been going on for %s", d.Round(time.Second))
		}
	}
	return nil
}

// Run announces until ctx ends, and then returns nil without withdrawing anything:
// see Leaving in the package's documentation.
func (l *Loop) Run(ctx context.Context) error {
	if kube.WaitForSync(ctx, l.Configuration...) != nil {
		return nil // ctx has ended: it has no other error
	}
	l.expect()
	if kube.WaitForSync(ctx, l.Sources...) != nil {
		return nil // ctx has ended: it has no other error
	}
	l.Log.Info("objects are known")
	select {
	case <-ctx.Done():
		return nil
	case <-l.Links.Ready():
	}
	l.follow()
	close(l.synced)

	settled, membersChanged := l.awaited()
	ready := l.readiness()
	var inquiries chan func() // nobody is answered before the first round
	var asking sync.WaitGroup
	defer asking.Wait()
	due := true // something may have changed that routes depend on
	forget(l.Inventory.changed)
	for {
		due = l.takeNodes() || due
		if settled == nil {
			l.round(ctx)
			inquiries = l.inquiries
		} else if due {
			l.early()
		}
		due = false
		select {
		case <-ctx.Done():
			return nil
		case <-l.Inventory.changed:
			due = true
		case <-settled:
			settled = nil
		case <-membersChanged:
			l.regrouped = true
			l.unsettle()
		case answer := <-inquiries:
			answer()
		case step := <-l.departures:
			step()
		case name := <-ready:
			l.heardReady(name)
		case <-l.handovers.timer.C:
			l.expireHandovers()
		case <-l.factsChanged():
		case <-l.Links.Changed():
			l.follow()
		case <-l.reunions.timer.C:
			l.follow()
		case <-l.reunions.question.C:
			l.lookAround(ctx, &asking)
		case alone := <-l.reunions.alone:
			l.lookedAround(alone)
		case <-l.claims.recheck.C:
			l.reweigh()
		case <-l.claims.tidied():
			l.tidyUp()
		case <-l.renewals:
			l.missed()
		case <-l.reunions.renewal.C:
			l.renew()
		case <-l.Exclusions.Changed():
			l.follow()
		}
	}
}

// awaited returns what to wait for before the first round, nil for nothing, and what
// rings when members change.
func (l *Loop) awaited() (settled, changed <-chan struct{}) {
	if l.Members == nil {
		l.Log.Warn("gossip is off: every node counts as alive, and dead nodes keep their addresses")
		return nil, nil
	}
	return l.Members.Settled(), l.Members.Changed()
}

// takeNodes passes the addresses of nodes on to the members, who find each other
// through them, and must, before they can settle. It says whether nodes have changed.
func (l *Loop) takeNodes() bool {
	nodes, changed := l.Inventory.takeNodes()
	if !changed {
		return false
	}
	l.nodes, l.stale = nodes, true
	if l.Facts != nil {
		l.Facts.keep(nodes)
	}
	if l.Members == nil {
		return true
	}
	peers := make(map[lb.NodeName][]netip.Addr, len(nodes))
	for i := range nodes {
		peers[nodes[i].Name] = nodes[i].Addresses
	}
	l.Members.SetPeers(peers)
	return true
}

// follow passes the interfaces on to layer 2, and to the view if their names differ.
func (l *Loop) follow() {
	links := l.Links.Snapshot()
	interfaces := l.Exclusions.apply(links)
	l.noteLinks(interfaces)
	l.holdBack(interfaces)
	l.Layer2.Follow(interfaces)
	l.tellSubnets(links, interfaces)
	names := make(map[string]struct{})
	for _, i := range interfaces {
		if announcesWhenUp(i) {
			names[i.Name] = struct{}{}
		}
	}
	if !sameKeys(names, l.interfaces) {
		l.interfaces, l.stale = names, true
	}
}

// round decides what has changed, applies it, and reports.
func (l *Loop) round(ctx context.Context) {
	began := time.Now()
	l.busy.Store(began.UnixNano())
	defer l.busy.Store(0)

	c := l.Inventory.take()
	if c.config {
		l.config, l.stale = l.takeConfig(), true
	}
	l.takeFacts(c.addresses)
	renewed := l.stale || l.regrouped
	reroute := func() {}
	if renewed {
		reroute = l.renewView(c.addresses)
	}
	l.decide(c.addresses)
	l.sayReady()
	l.claimNow()
	if renewed {
		l.welcome()
		l.reviseHeirs()
	}
	l.reporter.flush(ctx)
	reroute()
	if l.routes != nil {
		l.routes.flush(ctx)
	}
	l.ready.Store(true)
	if len(c.addresses) > 0 {
		l.metrics.round.Observe(time.Since(began).Seconds())
	}
}

func (l *Loop) takeConfig() lb.Config {
	config, problems := l.Inventory.config()
	rejected := l.tellProblems(problems)
	l.metrics.loaded.Set(1)
	l.metrics.stale.Set(0)
	if rejected > 0 {
		l.metrics.stale.Set(1)
	}
	l.Log.Info("configuration taken over", "pools", len(config.Pools),
		"l2_advertisements", len(config.L2Advertisements), "bgp_advertisements", len(config.BGPAdvertisements),
		"peers", len(config.Peers), "rejected", rejected)
	return config
}

// tellProblems logs what is wrong with objects, each thing once while it lasts, and
// returns how many objects cannot be used. The controller sees most of it, too, and has
// conditions for it; passwords in Secrets only the speakers see.
func (l *Loop) tellProblems(problems []lb.Problem) (rejected int) {
	for _, p := range problems {
		if p.Fatal {
			rejected++
		}
		if !slices.Contains(l.problems, p) {
			l.Log.Warn("object has a problem", lb.LogKeyObject, p.Object.String(), "field", p.Field,
				lb.LogKeyReason, p.Reason, lb.LogKeyMessage, p.Message)
		}
	}
	l.problems = problems
	return rejected
}

// input is what a view is made of now.
func (l *Loop) input() plan.Input {
	in := plan.Input{
		Self: l.Node, Config: &l.config, Nodes: l.nodes,
		IgnoreExcludeLabel: l.IgnoreExcludeLabel, Interfaces: l.interfaces,
	}
	if l.Members != nil {
		in.Members = l.Members.Alive()
	}
	if l.Facts != nil && !l.IgnoreSubnets {
		in.Subnets = l.Facts.subnets()
	}
	return in
}

// renewView makes the view anew, and adds the addresses to decide again to set: those that
// a loss of members may concern if nothing else has changed, for clients may be waiting,
// and otherwise all. What it returns does the same for routes, which have more time.
func (l *Loop) renewView(set map[netip.Addr]struct{}) (reroute func()) {
	in := l.input()
	first := l.members == nil
	gone, only := losses(l.members, in.Members)
	lost := !l.stale && only
	l.stale, l.regrouped, l.members = false, false, in.Members
	if in.Members != nil {
		l.Statuses.Sweep(leftovers(l.Node, l.nodes, in.Members))
		l.noteMembers(first, len(gone))
	}
	l.tellVerdict()
	if l.routes != nil && speaksForAll(l.Node, in.Members) {
		l.complaints.tell(ofSpeakers(l.problems, &l.config, l.nodes))
	}
	if lost && (l.Facts == nil || l.claims.full) { // else all claims are to be made again
		l.lose(in, gone, set)
		return func() { l.reroute(in) }
	}
	l.ownership.Use(plan.NewView(in))
	if l.routes != nil {
		l.routes.use(in)
	}
	l.Inventory.addAddresses(set)
	return func() {}
}

// decide makes layer 2 agree with the verdicts on the addresses, and on those that have
// another owner because of these.
func (l *Loop) decide(addresses map[netip.Addr]struct{}) {
	for a := range addresses {
		sharers := l.sharers(a)
		if l.routes != nil {
			l.routes.decide(a, sharers)
		}
		home, holder := l.claimants(a)
		l.ownership.Put(a, sharers, home, holder)
	}
	round := make([]decided, 0, len(addresses))
	for a, verdict := range l.ownership.Settle(l.sharers) {
		if l.handovers.departing && verdict.Announce {
			continue // it answers for this already, or another will
		}
		round = append(round, decided{a, verdict})
	}
	keepOthers := l.keepConnections(round)
	for i := range round {
		l.apply(round[i].address, &round[i].verdict)
	}
	keepOthers()
}

// sharers returns the Services that hold an address, until it is called again.
func (l *Loop) sharers(a netip.Addr) []plan.Sharer { return l.Inventory.sharersIn(&l.room, a) }

func (l *Loop) apply(a netip.Addr, verdict *plan.Verdict) {
	l.claimLater(a, verdict)
	was, announcing := l.reporter.announced(a)
	if !l.contend(a, verdict, announcing) {
		return
	}
	switch {
	case verdict.Announce && (!announcing || !sameInterfaces(was, verdict.Interfaces)):
		l.takeUp(a)
		if err := l.Layer2.Announce(layer2.Announcement{Address: a, Interfaces: verdict.Interfaces}); err != nil {
			l.Log.Error("address cannot be announced", lb.LogKeyIP, a, lb.LogKeyError, err)
		}
	case !verdict.Announce && announcing:
		l.giveUp(a, verdict)
	}
	l.reporter.record(a, verdict)
}

// leftovers returns the nodes whose speakers are gone and whose statuses this one is
// to sweep: all of them on the first live member by name, none on the others.
func leftovers(self lb.NodeName, nodes []lb.Node, alive map[lb.NodeName]struct{}) []lb.NodeName {
	if !speaksForAll(self, alive) {
		return nil
	}
	var dead []lb.NodeName
	for i := range nodes {
		if _, ok := alive[nodes[i].Name]; !ok {
			dead = append(dead, nodes[i].Name)
		}
	}
	slices.Sort(dead)
	return dead
}

// sameInterfaces tells nil, which is all, from empty, which does not occur.
func sameInterfaces(a, b []string) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func sameKeys[K comparable](a, b map[K]struct{}) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}
