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

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

// eventConflict is the reason of Events on Services whose advertisements disagree.
const eventConflict = "conflictingAdvertisements"

// routeReporter remembers what was decided about BGP and tells what has changed, as
// reporter does for Layer 2.
type routeReporter struct {
	node      lb.NodeName
	inventory *Inventory
	events    Events
	statuses  *Statuses
	log       *slog.Logger

	mu sync.Mutex // guards what follows
	// decisions are the last ones on each address.
	decisions map[netip.Addr][]route.Decision
	// advertising are the Services that this node advertises, with their addresses.
	advertising map[lb.ServiceName][]netip.Addr

	// touched are the Services concerned in this round, as they were before it.
	touched map[lb.ServiceName]advertised
	news    []routeNews
	began   bool // the first round has been reported
}

// advertised is what is told of a Service.
type advertised struct {
	is        bool
	overruled []string
}

// routeNews is a decision that is not what it was. Its zero Reason and peers mean that
// the Service does not hold the address any more.
type routeNews struct {
	now, before route.Decision
	released    bool
}

func newRouteReporter(c *Config) *routeReporter {
	return &routeReporter{
		node: c.Node, inventory: c.Inventory, events: c.Events, statuses: c.BGP.Statuses, log: c.Log,
		decisions:   make(map[netip.Addr][]route.Decision),
		advertising: make(map[lb.ServiceName][]netip.Addr),
		touched:     make(map[lb.ServiceName]advertised),
	}
}

// record takes note of the decisions on an address.
func (r *routeReporter) record(a netip.Addr, now []route.Decision) {
	old := r.decisions[a] // only the loop writes, so it may read without the lock
	if slices.EqualFunc(old, now, sameDecision) {
		return
	}
	for _, d := range old {
		r.touch(d.Service)
	}
	for _, d := range now {
		r.touch(d.Service)
	}
	r.collectNews(old, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(now) == 0 {
		delete(r.decisions, a)
	} else {
		r.decisions[a] = now
	}
	for _, d := range old {
		r.unlist(d.Service, a)
	}
	for _, d := range now {
		if d.Reason == lb.ReasonAnnounced {
			r.advertising[d.Service] = append(r.advertising[d.Service], a)
		}
	}
}

func sameDecision(a, b route.Decision) bool {
	return a.Service == b.Service && a.Reason == b.Reason && a.Tell == b.Tell && slices.Equal(a.Peers, b.Peers) && slices.Equal(a.Overruled, b.Overruled)
}

func (r *routeReporter) unlist(s lb.ServiceName, a netip.Addr) {
	rest := slices.DeleteFunc(r.advertising[s], func(o netip.Addr) bool { return o == a })
	if len(rest) == 0 {
		delete(r.advertising, s)
	} else {
		r.advertising[s] = rest
	}
}

// touch remembers what was told of the Service when the round began.
func (r *routeReporter) touch(s lb.ServiceName) {
	if _, ok := r.touched[s]; !ok {
		_, overruled := r.summary(s)
		r.touched[s] = advertised{is: len(r.advertising[s]) > 0, overruled: overruled}
	}
}

// summary returns the peers that are told of a Service, and the advertisements that
// are overruled, over all its addresses.
func (r *routeReporter) summary(s lb.ServiceName) (peers, overruled []string) {
	for _, a := range r.advertising[s] {
		for _, d := range r.decisions[a] {
			if d.Service == s {
				peers, overruled = append(peers, d.Peers...), append(overruled, d.Overruled...)
			}
		}
	}
	slices.Sort(peers)
	slices.Sort(overruled)
	return slices.Compact(peers), slices.Compact(overruled)
}

func (r *routeReporter) collectNews(old, now []route.Decision) {
	for _, d := range now {
		before := findDecision(old, d.Service)
		if !sameDecision(before, d) {
			r.news = append(r.news, routeNews{now: d, before: before})
		}
	}
	for _, d := range old {
		if findDecision(now, d.Service).Service == (lb.ServiceName{}) {
			r.news = append(r.news, routeNews{now: d, before: d, released: true})
		}
	}
}

// findDecision returns the decision on a Service; the zero value if there is none.
func findDecision(in []route.Decision, s lb.ServiceName) route.Decision {
	i := slices.IndexFunc(in, func(d route.Decision) bool { return d.Service == s })
	if i < 0 {
		return route.Decision{}
	}
	return in[i]
}

// flush ends a round: it tells what has changed since the last one.
func (r *routeReporter) flush(ctx context.Context) {
	r.logNews(ctx)
	for i := range r.news {
		if n := &r.news[i]; n.now.Tell && !n.released && n.before.Reason != lb.ReasonNoCommonNode {
			r.event(n.now.Service, corev1.EventTypeWarning, eventAnnounceFailed, noCommonNode(n.now.Address, plan.BGP))
		}
	}
	for s, was := range r.touched {
		r.reportService(s, was)
	}
	r.news, r.touched = nil, make(map[lb.ServiceName]advertised)
	if !r.began {
		r.began = true
		r.statuses.Complete()
	}
}

// reportService tells about one Service whose advertisement may have changed.
func (r *routeReporter) reportService(s lb.ServiceName, was advertised) {
	peers, overruled := r.summary(s)
	if len(overruled) > 0 && !slices.Equal(overruled, was.overruled) {
		r.event(s, corev1.EventTypeWarning, eventConflict, fmt.Sprintf(
			"BGPAdvertisements ask for different values of localPref; those of older ones count, and not of %s", strings.Join(overruled, ", ")))
	}
	if len(peers) == 0 {
		r.statuses.Withdraw(s)
		return
	}
	// A status that survived a restart of this process means that nothing has changed.
	if !was.is && (r.began || !r.statuses.Present(s)) {
		r.event(s, corev1.EventTypeNormal, eventNodeAssigned,
			fmt.Sprintf("announcing from node %q with protocol %q", r.node, plan.BGP))
	}
	r.statuses.Announce(s, peers)
}

func (r *routeReporter) event(s lb.ServiceName, kind, reason, message string) {
	if uid := r.inventory.uid(s); uid != "" {
		r.events.Write(kube.Event{Service: s, UID: uid, Type: kind, Reason: reason, Message: message})
	}
}

// logNews writes the log of a round.
func (r *routeReporter) logNews(ctx context.Context) {
	detail, begun, ended := slog.LevelInfo, 0, 0
	if len(r.news) > talkative {
		detail = slog.LevelDebug
	}
	for i := range r.news {
		n := &r.news[i]
		is := !n.released && n.now.Reason == lb.ReasonAnnounced
		was := n.before.Reason == lb.ReasonAnnounced
		switch {
		case is && !was:
			begun++
			r.log.Log(ctx, detail, "advertising", n.attributes()...)
		case was && !is:
			ended++
			r.log.Log(ctx, detail, "no longer advertising", n.attributes()...)
		case is:
			r.log.Log(ctx, detail, "advertising differently", n.attributes()...)
		default:
			r.log.Debug("decided on advertising", n.attributes()...)
		}
	}
	if len(r.news) > talkative && begun+ended > 0 {
		r.log.Info("advertisements have changed", "begun", begun, "ended", ended)
	}
}

func (n *routeNews) attributes() []any {
	attributes := []any{lb.LogKeyService, n.now.Service, lb.LogKeyIP, n.now.Address}
	if n.released {
		return append(attributes, lb.LogKeyReason, "Released")
	}
	attributes = append(attributes, lb.LogKeyReason, n.now.Reason, logKeyPeers, strings.Join(n.now.Peers, ","))
	if len(n.now.Overruled) > 0 {
		attributes = append(attributes, logKeyOverruled, strings.Join(n.now.Overruled, ","))
	}
	return attributes
}
