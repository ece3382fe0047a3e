// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/selfcheck"
)

// Asker asks the LAN who has addresses. layer2.Announcer does.
type Asker interface {
	// Ask asks whether anybody else has one of the addresses, and says whether anybody
	// was heard. With linger, it waits until anybody is.
	Ask(ctx context.Context, addresses []layer2.Announcement, linger bool) (o layer2.Outcome, others bool)
}

// Reasons of Events on Services.
const (
	eventOwnerSilent  = "OwnerNotAnswering"
	eventOwnerAnswers = "OwnerAnswering"
)

// lateQuestion is how long a question may take that nobody answers. It takes a quarter of
// that on a node that is not starved of processor time.
const lateQuestion = 160 * time.Millisecond

// SelfCheck asks for the addresses that this node is next in line for, now and then, and
// tells when their owner does not answer. It changes nothing about who owns what: see
// ADR 0028.
type SelfCheck struct {
	SelfCheckConfig

	mu       sync.Mutex // guards what follows
	machine  selfcheck.Machine
	outcomes [3]uint64 // questions by their outcome
}

// SelfCheckConfig says what a SelfCheck works with. All fields are needed, Loop by the
// time of Run.
type SelfCheckConfig struct {
	// Interval is how often each address is asked for, if there are not too many.
	Interval time.Duration
	// Pace is the time between two questions, give or take a quarter.
	Pace time.Duration

	Loop      *Loop
	LAN       Asker
	Inventory *Inventory
	Events    Events
	Log       *slog.Logger
}

// NewSelfCheck returns one that has asked for nothing yet.
func NewSelfCheck(c SelfCheckConfig) *SelfCheck { return &SelfCheck{SelfCheckConfig: c} }

// Run asks until ctx ends, and then returns nil.
func (c *SelfCheck) Run(ctx context.Context) error {
	timer := time.NewTimer(c.jitter())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		c.look(ctx)
		c.mu.Lock()
		a, ok := c.machine.Take(time.Now())
		c.mu.Unlock()
		if ok {
			c.check(ctx, a)
		}
		timer.Reset(c.jitter())
	}
}

// jitter returns the time until the next question: speakers that have started together
// are not to ask together.
func (c *SelfCheck) jitter() time.Duration {
	return c.Pace*3/4 + rand.N(c.Pace/2+1)
}

// look finds addresses to ask for.
func (c *SelfCheck) look(ctx context.Context) {
	now := time.Now()
	c.mu.Lock()
	if c.machine.Over(now) {
		c.machine.Begin(c.everything(), c.Interval, now)
	}
	addresses := c.machine.Look(now)
	c.mu.Unlock()
	if len(addresses) == 0 {
		return
	}
	subjects, _ := consult(ctx, c.Loop, func() []subject { return c.Loop.nextInLine(addresses) })
	found := make([]netip.Addr, len(subjects))
	for i := range subjects {
		found[i] = subjects[i].Address
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machine.Queue(found)
}

// everything returns all addresses in random order.
func (c *SelfCheck) everything() []netip.Addr {
	all := c.Inventory.addresses()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// check asks for one address. A silence counts only if it is the same node that should
// have answered before and after.
func (c *SelfCheck) check(ctx context.Context, a netip.Addr) {
	s, ok := c.subject(ctx, a)
	if !ok {
		c.drop(ctx, a)
		return
	}
	outcome := c.ask(ctx, s)
	if ctx.Err() != nil {
		return
	}
	if outcome == selfcheck.Silence {
		if now, ok := c.subject(ctx, a); !ok || !now.equal(&s) {
			outcome = selfcheck.Void
		}
	}
	now := time.Now()
	c.mu.Lock()
	c.outcomes[outcome]++
	since := c.machine.Since(a)
	change := c.machine.Heard(a, s.owner, outcome, now)
	c.mu.Unlock()
	c.tell(&s, change, now.Sub(since))
}

// subject returns what to ask about an address; false if this node is not next in line.
func (c *SelfCheck) subject(ctx context.Context, a netip.Addr) (subject, bool) {
	subjects, _ := consult(ctx, c.Loop, func() []subject { return c.Loop.nextInLine([]netip.Addr{a}) })
	if len(subjects) == 0 {
		return subject{}, false
	}
	return subjects[0], true
}

// drop forgets an address that is another's to ask for now. Whether anybody answers is not
// known: no Event says so.
func (c *SelfCheck) drop(ctx context.Context, a netip.Addr) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	reported := c.machine.Drop(a)
	c.mu.Unlock()
	if reported {
		c.Log.Info("an address whose owner did not answer has been decided anew", lb.LogKeyIP, a)
	}
}

// ask asks for the address, and if nobody answers for one that certainly somebody has: who
// does not get an answer to that either is not heard, or cut off. A question that took too
// long, because this process was starved, may have missed the answer.
func (c *SelfCheck) ask(ctx context.Context, s subject) selfcheck.Outcome {
	began := time.Now()
	o, _ := c.LAN.Ask(ctx, []layer2.Announcement{s.Announcement}, false)
	switch {
	case o == layer2.Answered:
		return selfcheck.Answered
	case o == layer2.Unable, time.Since(began) > lateQuestion:
		return selfcheck.Void
	}
	witnesses, _ := consult(ctx, c.Loop, func() []layer2.Announcement { return c.Loop.witnesses(s) })
	if len(witnesses) > 0 {
		if o, _ := c.LAN.Ask(ctx, witnesses, false); o == layer2.Answered {
			return selfcheck.Silence
		}
		return selfcheck.Void
	}
	// No node has an address of its own there: it has to do that others are heard.
	switch o, others := c.LAN.Ask(ctx, []layer2.Announcement{s.Announcement}, true); {
	case o == layer2.Answered:
		return selfcheck.Answered
	case o == layer2.Silence && others:
		return selfcheck.Silence
	}
	return selfcheck.Void
}

// tell tells users of a change.
func (c *SelfCheck) tell(s *subject, change selfcheck.Change, after time.Duration) {
	where := strings.Join(s.Interfaces, ", ")
	attributes := []any{lb.LogKeyIP, s.Address, logKeyOwner, s.owner, lb.LogKeyInterface, where}
	switch change {
	case selfcheck.None:
	case selfcheck.Began:
		c.Log.Warn("the owner of an address does not answer for it", attributes...)
		c.Inventory.tell(c.Events, s.Address, corev1.EventTypeWarning, eventOwnerSilent, fmt.Sprintf(
			"node %q is to announce %s and takes part in the cluster, but nobody has answered for it in %d questions over %s, asked by node %q on %s. "+
				"See the speaker of %q, and what filters ARP or NDP between the two",
			s.owner, s.Address, selfcheck.Silences, after.Round(time.Second), c.Loop.Node, where, s.owner))
	case selfcheck.Ended:
		c.Log.Info("an address is answered for again", attributes...)
		c.Inventory.tell(c.Events, s.Address, corev1.EventTypeNormal, eventOwnerAnswers, fmt.Sprintf(
			"%s is answered for again, by the account of node %q", s.Address, c.Loop.Node))
	}
}

// Describe is a prometheus.Collector's.
func (c *SelfCheck) Describe(to chan<- *prometheus.Desc) {
	to <- questionsDesc()
	to <- silentDesc()
	to <- nextInLineDesc()
}

// Collect is a prometheus.Collector's.
func (c *SelfCheck) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	outcomes, silent, found := c.outcomes, c.machine.Silent(), c.machine.Found()
	c.mu.Unlock()
	for o, name := range [...]string{selfcheck.Void: "void", selfcheck.Silence: "silence", selfcheck.Answered: "answered"} {
		to <- prometheus.MustNewConstMetric(questionsDesc(), prometheus.CounterValue, float64(outcomes[o]), name)
	}
	for a, owner := range silent {
		to <- prometheus.MustNewConstMetric(silentDesc(), prometheus.GaugeValue, 1, a.String(), string(owner))
	}
	to <- prometheus.MustNewConstMetric(nextInLineDesc(), prometheus.GaugeValue, float64(found))
}

func questionsDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_selfcheck_questions_total",
		"Questions for addresses that this node is next in line for, by what came of them: answered, silence, or void, when nobody was heard at all or this process was late.",
		[]string{"outcome"}, nil)
}

func silentDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_selfcheck_silent",
		"1 for each address that this node is next in line for and that its owner does not answer for, by that owner.", []string{"ip", "owner"}, nil)
}

func nextInLineDesc() *prometheus.Desc {
	return prometheus.NewDesc("herald_layer2_selfcheck_addresses",
		"Addresses that this node is next in line for, and asks for now and then.", nil, nil)
}
