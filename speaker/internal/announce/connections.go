// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

const (
	// lookAfterFormers is how often nodes that packets are passed on to are asked for.
	lookAfterFormers = time.Second
	// formerSilences is how many questions such a node leaves unanswered before it counts
	// as gone.
	formerSilences = 3
	// promptQuestion is how long a question may take that nobody answers: twice as long as it
	// should. Whoever is starved of processor time misses answers.
	promptQuestion = lateQuestion / 2
	// formerLingers is how long packets are still passed on to a node that an address has
	// gone to, or gone back to: until the last client knows.
	formerLingers = 2 * time.Second
)

// logKeyFormer is the address of a node that packets are passed on to.
const logKeyFormer = "former"

// ConnectionTable has the kernel pass packets on that belong to no connection of this node.
// flows.Table is one.
type ConnectionTable interface {
	// Keep has packets to each address go to the node that had it before, for so long.
	Keep(former map[netip.Addr]netip.Addr, d time.Duration) error
	// Forget ends that for all addresses that lead to that node.
	Forget(former netip.Addr) error
	// Entries returns what is in force, also from before a restart.
	Entries() ([]flows.Entry, error)
	// Prune lets packets pass by as before if there are no entries any more.
	Prune() error
	// Count returns how many packets were passed on.
	Count() (flows.Count, error)
}

// ConnectionsConfig says what Connections work with. All fields are needed.
type ConnectionsConfig struct {
	// Open finds out whether the kernel can do it, and lets this process.
	Open func() (ConnectionTable, error)
	LAN  Asker
	// Lifetime is how long connections are kept after an address has moved.
	Lifetime time.Duration
	Log      *slog.Logger
}

// Connections keep those that were open when an address came here: the node that had it
// before knows them, and gets their packets as long as it is there. See ADR 0030. Safe for
// concurrent use.
type Connections struct {
	ConnectionsConfig
	bell chan struct{} // there is a node that has not been asked for

	open  sync.Once
	table ConnectionTable // set by open; nil if there is none

	mu      sync.Mutex // guards what follows
	kept    map[netip.Addr]kept
	formers map[netip.Addr]*former // those in kept, by their addresses
	used    bool                   // there may be a table
}

// kept is where packets of connections go that this node does not know, and until when.
type kept struct {
	former netip.Addr
	until  time.Time
}

// former is a node that packets are passed on to.
type former struct {
	answered bool // it has been there
	silences int  // questions in a row that it has not answered
}

// NewConnections returns Connections that have not opened the table yet.
func NewConnections(c ConnectionsConfig) *Connections {
	return &Connections{
		ConnectionsConfig: c, bell: make(chan struct{}, 1),
		kept: make(map[netip.Addr]kept), formers: make(map[netip.Addr]*former),
	}
}

// Run asks for the nodes that packets are passed on to, until ctx ends, and then returns
// nil. What is in force stays so: the next start finds it.
func (c *Connections) Run(ctx context.Context) error {
	if !c.ready() {
		return nil
	}
	tick := time.NewTicker(lookAfterFormers)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.look(ctx, false)
			c.prune()
		case <-c.bell:
			// One that is dead should not swallow packets for longer than it takes to know.
			for range formerSilences {
				c.look(ctx, true)
			}
		}
	}
}

// ready opens the table, the first time, and says whether there is one.
func (c *Connections) ready() bool {
	c.open.Do(func() {
		table, err := c.Open()
		if err != nil {
			c.Log.Warn("connections will break when their address moves to another node", lb.LogKeyError, err)
			return
		}
		c.table = table
		c.adopt()
	})
	return c.table != nil
}

// adopt takes over what the process before this one has left.
func (c *Connections) adopt() {
	entries, err := c.table.Entries()
	if err != nil {
		c.Log.Warn("connections kept before this start are not known", lb.LogKeyError, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		c.note(e.Address, kept{e.Former, time.Now().Add(e.Left)})
	}
}

// note takes note of an entry of the table.
func (c *Connections) note(a netip.Addr, k kept) {
	c.kept[a], c.used = k, true
	if c.formers[k.former] == nil {
		c.formers[k.former] = new(former)
		ring(c.bell)
	}
}

// take keeps the connections of addresses that come here, each from the node given. It
// returns when packets are passed on: clients may be told then.
func (c *Connections) take(from map[netip.Addr]netip.Addr) {
	c.keep(from, c.Lifetime)
}

// lead keeps the connections of addresses that go elsewhere, or are there, and that have been
// at the nodes given before they came here.
func (c *Connections) lead(on map[netip.Addr]netip.Addr) {
	c.keepIf(on, c.Lifetime, func(now, node netip.Addr) bool { return now != node })
}

// keeping says whether packets to any address are passed on.
func (c *Connections) keeping() bool {
	if !c.ready() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept) > 0
}

// keeps says whether packets to the address are passed on.
func (c *Connections) keeps(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.kept[a]
	return ok
}

// giveAway takes note of addresses that go from here to nodes. Until the last client and
// this node's own answers have followed, packets of connections that have begun there may
// come here. What leads elsewhere remains: it belongs to a chain.
func (c *Connections) giveAway(to map[netip.Addr]netip.Addr) {
	c.keepIf(to, formerLingers, func(now, node netip.Addr) bool { return !now.IsValid() || now == node })
}

// giveBack takes note of addresses that others give to nodes. Whoever has an address again
// needs nothing passed on, and nothing may come back from there in a circle.
func (c *Connections) giveBack(to map[netip.Addr]netip.Addr) {
	c.keepIf(to, formerLingers, func(now, node netip.Addr) bool { return now == node })
}

// keepIf keeps those that wanted says, by where packets go now, if anywhere, and the node.
func (c *Connections) keepIf(from map[netip.Addr]netip.Addr, d time.Duration, wanted func(now, node netip.Addr) bool) {
	c.mu.Lock()
	maps.DeleteFunc(from, func(a, node netip.Addr) bool { return !wanted(c.kept[a].former, node) })
	c.mu.Unlock()
	c.keep(from, d)
}

func (c *Connections) keep(from map[netip.Addr]netip.Addr, d time.Duration) {
	if len(from) == 0 || !c.ready() {
		return
	}
	if err := c.table.Keep(from, d); err != nil {
		c.Log.Warn("connections of addresses that move may break", lb.LogKeyCount, len(from), lb.LogKeyError, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(d)
	for a, node := range from {
		c.note(a, kept{node, until})
	}
}

// look asks for the nodes that packets are passed on to, or for those only that have not
// answered yet, and forgets which are gone.
func (c *Connections) look(ctx context.Context, fresh bool) {
	asked := c.askable(fresh)
	for _, node := range asked {
		began := time.Now()
		outcome, _ := c.LAN.Ask(ctx, []layer2.Announcement{{Address: node}}, false)
		if ctx.Err() != nil {
			return
		}
		if outcome == layer2.Silence && time.Since(began) > promptQuestion {
			continue // an answer may have been missed
		}
		if c.heard(node, outcome) {
			continue
		}
		c.Log.Info("connections are not kept any more: their node is gone", logKeyFormer, node)
		if err := c.table.Forget(node); err != nil {
			c.Log.Warn("packets to a node that is gone are still passed on", logKeyFormer, node, lb.LogKeyError, err)
		}
	}
}

// prune ends all cost when the last entry has expired.
func (c *Connections) prune() {
	c.mu.Lock()
	over := c.used && len(c.kept) == 0
	c.used = c.used && !over
	c.mu.Unlock()
	if !over {
		return
	}
	if err := c.table.Prune(); err != nil {
		c.Log.Warn("a table without entries stays", lb.LogKeyError, err)
	}
}

// askable returns the nodes to ask for, without those that nothing leads to any more.
func (c *Connections) askable(fresh bool) []netip.Addr {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	used := make(map[netip.Addr]struct{})
	for a, k := range c.kept {
		if !k.until.After(now) {
			delete(c.kept, a)
			continue
		}
		used[k.former] = struct{}{}
	}
	var asked []netip.Addr
	for node, f := range c.formers {
		if _, ok := used[node]; !ok {
			delete(c.formers, node)
			continue
		}
		if !fresh || !f.answered {
			asked = append(asked, node)
		}
	}
	return asked
}

// heard takes note of what a question for a node came to, and says whether that node
// counts as there.
func (c *Connections) heard(node netip.Addr, o layer2.Outcome) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.formers[node]
	if f == nil {
		return true // nothing has led there for a moment
	}
	switch o {
	case layer2.Unable:
	case layer2.Answered:
		f.answered, f.silences = true, 0
	case layer2.Silence:
		f.silences++
	}
	if f.silences < formerSilences {
		return true
	}
	delete(c.formers, node)
	maps.DeleteFunc(c.kept, func(_ netip.Addr, k kept) bool { return k.former == node })
	return false
}

// Describe is a prometheus.Collector's.
func (c *Connections) Describe(to chan<- *prometheus.Desc) {
	to <- keptDesc()
	to <- passedOnDesc()
}

// Collect is a prometheus.Collector's.
func (c *Connections) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	n := len(c.kept)
	c.mu.Unlock()
	to <- prometheus.MustNewConstMetric(keptDesc(), prometheus.GaugeValue, float64(n))
	if !c.ready() {
		return
	}
	if count, err := c.table.Count(); err == nil {
		to <- prometheus.MustNewConstMetric(passedOnDesc(), prometheus.CounterValue, float64(count.PassedOn))
	}
}

func keptDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_kept_addresses",
		"Addresses whose connections from before they came here are passed on to the node that had them.", nil, nil)
}

func passedOnDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_passed_on_packets_total",
		"Packets that this node has passed on to the node that had their address before. Begins at zero again when no address is kept.", nil, nil)
}
