// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// Reasons of Events on Services. Users' alerts know them.
const (
	eventNodeAssigned   = "nodeAssigned"
	eventAnnounceFailed = "announceFailed"
)

// logKeyOwner is the elected node; lb.LogKeyNode is this one in all records.
const logKeyOwner = "owner"

// talkative is how many changes of one round are logged one by one at level info. In
// larger rounds, a node's death say, there is one record with their number, and the
// rest is for level debug.
const talkative = 20

// Events takes Events to be written some time. It does not block. kube.EventWriter
// does this.
type Events interface {
	Write(kube.Event)
}

// reporter remembers what was decided and tells what has changed: to the log, as
// Events, to Statuses. Metrics are read from it at any time. Its other methods belong
// to the loop.
type reporter struct {
	node      lb.NodeName
	inventory *Inventory
	events    Events
	statuses  *Statuses
	log       *slog.Logger

	mu      sync.Mutex // guards records and announcing
	records map[netip.Addr]record
	// announcing are the Services that this node announces, with their addresses.
	announcing map[lb.ServiceName][]announcement

	// touched are the Services concerned in this round, and whether they were
	// announced here before it.
	touched map[lb.ServiceName]bool
	news    []news
	began   bool // the first round has been reported
}

// record is the last verdict on an address, as far as it is told to anybody.
type record struct {
	announced  bool
	interfaces []string
	outcomes   []outcome
	// elected is since when the address has had an owner, in milliseconds since 1970; it
	// is kept for many.
	elected int64
}

// announcement is an address of a Service, and where this node announces it.
type announcement struct {
	address    netip.Addr
	interfaces []string
}

// outcome is the last decision on an address of one Service.
type outcome struct {
	service lb.ServiceName
	owner   lb.NodeName
	reason  lb.Reason
}

// news is an outcome that is not what it was.
type news struct {
	outcome
	address    netip.Addr
	interfaces []string
	// before is the outcome until now; its zero value means that there was none.
	before outcome
	// released means that the Service does not hold the address any more: then the
	// outcome names the Service only.
	released bool
	// elected is the owner of the address, also where it is not announced for the Service.
	elected lb.NodeName
}

// began says whether the outcome has the reason now, and had another one before.
func (n *news) began(reason lb.Reason) bool {
	return !n.released && n.reason == reason && n.before.reason != reason
}

// ended says whether the outcome had the reason before, and has another one now.
func (n *news) ended(reason lb.Reason) bool {
	return n.before.reason == reason && (n.released || n.reason != reason)
}

func newReporter(c *Config) *reporter {
	return &reporter{
		node:       c.Node,
		inventory:  c.Inventory,
		events:     c.Events,
		statuses:   c.Statuses,
		log:        c.Log,
		records:    make(map[netip.Addr]record),
		announcing: make(map[lb.ServiceName][]announcement),
		touched:    make(map[lb.ServiceName]bool),
	}
}

// announced returns whether this node announces the address, and on which interfaces.
func (r *reporter) announced(a netip.Addr) (interfaces []string, ok bool) {
	rec := r.records[a] // only the loop writes, so it may read without the lock
	return rec.interfaces, rec.announced
}

// record takes note of a verdict.
func (r *reporter) record(a netip.Addr, v *plan.Verdict) {
	old := r.records[a]
	outcomes := make([]outcome, len(v.Decisions))
	for i, d := range v.Decisions {
		outcomes[i] = outcome{d.Service, d.Owner, d.Reason}
	}
	if slices.Equal(old.outcomes, outcomes) && old.announced == v.Announce && sameInterfaces(old.interfaces, v.Interfaces) {
		return
	}
	r.collectNews(a, old.outcomes, outcomes, v)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(outcomes) == 0 {
		delete(r.records, a)
	} else {
		r.records[a] = record{v.Announce, v.Interfaces, outcomes, r.electedSince(&old, v)}
	}
	for _, o := range old.outcomes {
		r.touch(o.service)
		r.unlist(o.service, a)
	}
	for _, o := range outcomes {
		r.touch(o.service)
		if o.reason == lb.ReasonAnnounced {
			r.list(o.service, a, v.Interfaces)
		}
	}
}

// electedSince returns since when the address of a verdict has had an owner. What has one
// when this process begins has long had it, for all that is known.
func (r *reporter) electedSince(old *record, v *plan.Verdict) int64 {
	if v.Owner == "" || old.owner() != "" || !r.began {
		return old.elected
	}
	return time.Now().UnixMilli()
}

// touch remembers whether the Service was announced here when the round began.
func (r *reporter) touch(s lb.ServiceName) {
	if _, ok := r.touched[s]; !ok {
		r.touched[s] = len(r.announcing[s]) > 0
	}
}

func (r *reporter) list(s lb.ServiceName, a netip.Addr, interfaces []string) {
	r.announcing[s] = append(slices.Clip(r.announcing[s]), announcement{a, interfaces})
}

func (r *reporter) unlist(s lb.ServiceName, a netip.Addr) {
	rest := slices.DeleteFunc(r.announcing[s], func(n announcement) bool { return n.address == a })
	if len(rest) == 0 {
		delete(r.announcing, s)
	} else {
		r.announcing[s] = rest
	}
}

// collectNews compares the outcomes on an address, Service by Service.
func (r *reporter) collectNews(a netip.Addr, old, now []outcome, v *plan.Verdict) {
	for _, o := range now {
		if before := find(old, o.service); before != o {
			r.news = append(r.news, news{outcome: o, address: a, interfaces: v.Interfaces, before: before, elected: v.Owner})
		}
	}
	for _, o := range old {
		if find(now, o.service) == (outcome{}) {
			r.news = append(r.news, news{outcome: outcome{service: o.service}, address: a, before: o, released: true})
		}
	}
}

// find returns the outcome for a Service; the zero value if there is none.
func find(in []outcome, s lb.ServiceName) outcome {
	i := slices.IndexFunc(in, func(o outcome) bool { return o.service == s })
	if i < 0 {
		return outcome{}
	}
	return in[i]
}

// flush ends a round: it tells what has changed since the last one.
func (r *reporter) flush(ctx context.Context) {
	r.logNews(ctx)
	for i := range r.news {
		n := &r.news[i]
		switch {
		case n.began(lb.ReasonNoCommonNode) && n.elected == r.node:
			r.event(n.service, corev1.EventTypeWarning, eventAnnounceFailed, noCommonNode(n.address, plan.Layer2))
		case n.began(lb.ReasonNoInterface):
			r.event(n.service, corev1.EventTypeWarning, eventAnnounceFailed, fmt.Sprintf(
				"node %q was elected for %s with protocol %q, but has none of the interfaces that the advertisements name: %s",
				r.node, n.address, plan.Layer2, strings.Join(n.interfaces, ", ")))
		}
	}
	for s, was := range r.touched {
		r.reportService(s, was)
	}
	// A round over everything is rare: the room it took is not kept for the next.
	r.news, r.touched = nil, make(map[lb.ServiceName]bool)
	if !r.began {
		r.began = true
		r.statuses.Complete()
	}
}

// noCommonNode says why an address is announced, but not for all who share it.
func noCommonNode(a netip.Addr, p plan.Protocol) string {
	return fmt.Sprintf("%s is not announced for this Service with protocol %q: no node that may announce it suits this Service "+
		"and the older ones that share the address, which prevail. With externalTrafficPolicy Local such a node needs ready endpoints of all of them", a, p)
}

// reportService tells about one Service whose announcement may have changed.
func (r *reporter) reportService(s lb.ServiceName, was bool) {
	addresses, is := r.announcing[s]
	if !is {
		r.statuses.Withdraw(s)
		return
	}
	// A status that survived a restart of this process means that nothing has changed.
	if !was && (r.began || !r.statuses.Present(s)) {
		r.event(s, corev1.EventTypeNormal, eventNodeAssigned,
			fmt.Sprintf("announcing from node %q with protocol %q", r.node, plan.Layer2))
	}
	r.statuses.Announce(s, unionOf(addresses))
}

// unionOf returns the interfaces of all addresses, sorted; nil, meaning all, if one of
// them is announced on all.
func unionOf(addresses []announcement) []string {
	var union []string
	for _, a := range addresses {
		if a.interfaces == nil {
			return nil
		}
		union = append(union, a.interfaces...)
	}
	slices.Sort(union)
	return slices.Compact(union)
}

func (r *reporter) event(s lb.ServiceName, kind, reason, message string) {
	uid := r.inventory.uid(s)
	if uid == "" {
		return // the Service went in the meantime
	}
	r.events.Write(kube.Event{Service: s, UID: uid, Type: kind, Reason: reason, Message: message})
}

// logNews writes the log of a round.
func (r *reporter) logNews(ctx context.Context) {
	detail, taken, given := slog.LevelInfo, 0, 0
	if len(r.news) > talkative {
		detail = slog.LevelDebug
	}
	for i := range r.news {
		switch n := &r.news[i]; {
		case n.began(lb.ReasonAnnounced):
			taken++
			r.log.Log(ctx, detail, "announcing", n.attributes()...)
		case n.began(lb.ReasonNoInterface):
			r.log.Warn("cannot announce", n.attributes()...)
		case n.ended(lb.ReasonAnnounced):
			given++
			r.log.Log(ctx, detail, "no longer announcing", n.attributes()...)
		default:
			r.log.Debug("decided", n.attributes()...)
		}
	}
	if len(r.news) > talkative && taken+given > 0 {
		r.log.Info("addresses have moved", "taken", taken, "given", given)
	}
}

func (n *news) attributes() []any {
	attributes := []any{lb.LogKeyService, n.service, lb.LogKeyIP, n.address}
	if n.released {
		return append(attributes, lb.LogKeyReason, "Released")
	}
	return append(attributes, logKeyOwner, n.owner, lb.LogKeyReason, n.reason)
}
