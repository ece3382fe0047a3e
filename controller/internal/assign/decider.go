// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// objects are the API server's objects as the informers know them. They must not be
// modified.
type objects interface {
	// service returns a Service of type LoadBalancer.
	service(lb.ServiceName) (*corev1.Service, bool)
	// services returns all of them, or those of one namespace.
	services() []*corev1.Service
	servicesIn(namespace string) []*corev1.Service
	reservations
	// config returns the configuration, and whether that is all of it: while other
	// kinds are still to come, it is good enough for pools only.
	config() (objects lb.Objects, complete bool)
	// nodes returns all nodes, of which the labels count.
	nodes() []lb.Node
	// catchUp returns once all that the API server has now is shown.
	catchUp(context.Context) error
}

// catchUpRetry is the time between two attempts to catch up.
const catchUpRetry = time.Second

// key names what has changed: a Service, or with an empty name a namespace, or with
// both empty the configuration.
type key lb.ServiceName

// decider gives the informers' changes to ipam, one at a time, and what comes out to
// the outbox and the reporter. It lives for one term of leadership.
type decider struct {
	objects  objects
	owns     func(*corev1.Service) bool
	outbox   *outbox
	reporter *reporter
	log      *slog.Logger

	// fresh reports that the informers lack no write of another leader.
	fresh bool
	// begun is closed when the takeover is over.
	begun chan struct{}

	queue   workqueue.TypedDelayingInterface[key]
	ipam    *ipam.Allocator
	custody *custodian
	// known are the Services that ipam knows.
	known map[lb.ServiceName]known
	// reasons count the known Services by their reason, gaps those with an address that
	// no node can announce.
	reasons, gaps map[lb.Reason]int
	pools         []lb.Pool
	// coverage is what the configuration has announced. Nil: it is not complete yet.
	coverage *lb.Coverage
	// changed reports that the reporter has not got the latest counters.
	changed bool
}

type known struct {
	uid    types.UID
	reason lb.Reason
	// gap is why its address is announced by no node; lb.ReasonAnnounced if it may be.
	gap lb.Reason
}

func newDecider(o objects, owns func(*corev1.Service) bool, out *outbox, r *reporter, file func(filing), log *slog.Logger) *decider {
	d := &decider{
		objects: o, owns: owns, outbox: out, reporter: r, log: log,
		begun:   make(chan struct{}),
		queue:   workqueue.NewTypedDelayingQueue[key](),
		ipam:    ipam.New(),
		known:   map[lb.ServiceName]known{},
		reasons: map[lb.Reason]int{},
		gaps:    map[lb.Reason]int{},
	}
	d.custody = newCustodian(o, d.ipam, file, func(name lb.ServiceName, after time.Duration) { d.queue.AddAfter(key(name), after) })
	return d
}

// run takes over what there is, then follows the changes until ctx ends. Whoever
// feeds the queue begins before run is called, so that no change is lost between.
func (d *decider) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.queue.ShutDown)
	defer stop()
	d.takeOver(ctx)
	close(d.begun)
	for {
		k, stopped := d.queue.Get()
		if stopped {
			return nil
		}
		d.handle(k)
		d.queue.Done(k)
		if d.changed && d.queue.Len() == 0 {
			d.report()
		}
	}
}

// sweep has the Services looked at again whose last write the informer should have
// shown by now, until ctx ends.
func (d *decider) sweep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.begun:
	}
	// The start has needed more memory than what follows will.
	debug.FreeOSMemory()
	ticker := time.NewTicker(patience / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			for _, name := range d.outbox.overdue() {
				d.queue.Add(key(name))
			}
		}
	}
}

// takeOver has ipam adopt every address found in a Service's status before any other is
// given.
func (d *decider) takeOver(ctx context.Context) {
	started := time.Now()
	d.reporter.takingOver(d.awaiting())
	if !d.fresh {
		d.catchUp(ctx)
	}
	caughtUp := time.Since(started)
	d.configure()
	sightings := map[lb.ServiceName]sighting{}
	var claims []ipam.Claim
	for _, s := range d.objects.services() {
		seen := d.sight(s)
		sightings[seen.claim.Service.Name] = seen
		d.custody.wish(seen.claim.Service.Name, seen.claim.Wishes())
		claims = append(claims, seen.claim)
	}
	d.custody.takeOver(d.present)
	for out := range d.ipam.TakeOver(claims) {
		d.write(out[0], sightings[out[0].Service])
		d.apply(out[1:])
		if ctx.Err() != nil {
			return
		}
	}
	for _, seen := range sightings {
		if !seen.claim.Foreign {
			d.custody.keep(seen.claim)
		}
	}
	d.custody.report()
	d.report()
	d.log.Info("taken over", lb.LogKeyCount, len(sightings),
		lb.LogKeyMessage, fmt.Sprintf("informers fresh after %s, decided after %s", caughtUp, time.Since(started)))
}

// awaiting counts our Services by why they have no address yet.
func (d *decider) awaiting() map[lb.Reason]int {
	reasons := map[lb.Reason]int{}
	for _, s := range d.objects.services() {
		if d.owns(s) && len(s.Status.LoadBalancer.Ingress) == 0 {
			reasons[lb.ReasonTakingOver]++
		}
	}
	return reasons
}

// catchUp waits until the informers show the last writes of whoever led before.
func (d *decider) catchUp(ctx context.Context) {
	pause := time.NewTicker(catchUpRetry)
	defer pause.Stop()
	for ctx.Err() == nil {
		err := d.objects.catchUp(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Warn("takeover delayed, trying again", lb.LogKeyError, err)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// handle looks at what has changed.
func (d *decider) handle(k key) {
	switch {
	case k == key{}:
		d.configure()
	case k.Name == "":
		for _, s := range d.objects.servicesIn(k.Namespace) {
			d.queue.Add(key{s.Namespace, s.Name})
		}
		for _, r := range d.objects.reservationsIn(k.Namespace) {
			d.queue.Add(key{r.Namespace, r.Spec.ServiceName})
		}
	default:
		d.reconcile(lb.ServiceName(k))
	}
	for _, name := range d.custody.takeRecast() {
		d.queue.Add(key(name))
	}
	d.custody.report()
	d.changed = d.changed || d.custody.changed
}

// present reports whether there is a Service for which addresses need not be kept.
func (d *decider) present(name lb.ServiceName) bool {
	s, ok := d.objects.service(name)
	return ok && d.owns(s)
}

// reconcile brings one Service up to date, and before that what is reserved for it.
func (d *decider) reconcile(name lb.ServiceName) {
	s, ok := d.objects.service(name)
	ours := ok && d.owns(s)
	k, isKnown := d.known[name]
	var seen sighting
	if ok {
		seen = d.sight(s)
	}
	d.apply(d.custody.wish(name, seen.claim.Wishes()))
	d.apply(d.custody.look(name, ours))
	if isKnown && (!ok || k.uid != s.UID) {
		d.release(name)
	}
	switch {
	case ours:
		if !isKnown {
			d.outbox.pace.arrive()
		}
		d.assign(seen)
		d.custody.keep(seen.claim)
	case ok:
		d.assign(seen) // another implementation's: only what it has is of interest
	case isKnown && k.reason != lb.ReasonOtherClass:
		d.outbox.clear(name, k.uid)
	}
}

// sighting is a Service as the informer shows it.
type sighting struct {
	uid        types.UID
	claim      ipam.Claim
	observed   state
	deprecated []string
}

func (d *decider) sight(s *corev1.Service) sighting {
	svc, problems := lb.ParseService(s)
	seen := sighting{
		uid:      s.UID,
		claim:    ipam.NewClaim(&svc, problems, d.objects.namespaceLabels(s.Namespace)),
		observed: observe(s, &svc),
	}
	seen.claim.Foreign = !d.owns(s)
	for _, p := range problems {
		if p.Reason == lb.ReasonDeprecated {
			seen.deprecated = append(seen.deprecated, p.Message)
		}
	}
	return seen
}

// assign makes the claim the Service's current one.
func (d *decider) assign(seen sighting) {
	out := d.ipam.Assign(seen.claim)
	d.write(out[0], seen)
	d.apply(out[1:])
}

func (d *decider) release(name lb.ServiceName) {
	d.count(name, nil)
	d.apply(d.ipam.Release(name))
	d.changed = true
}

// configure reads the configuration anew.
func (d *decider) configure() {
	objs, complete := d.objects.config()
	config, problems := lb.ParseConfig(objs)
	if complete {
		// What objects do to each other where they meet is wrong with them, too.
		d.reporter.configured(objs, slices.Concat(problems, config.ProblemsOn(d.objects.nodes())))
	}
	if complete && d.cover(lb.NewCoverage(&config, problems)) {
		d.reviewAll()
	}
	// Labels and edits of other kinds change nothing here, and happen more often.
	if d.pools != nil && reflect.DeepEqual(d.pools, config.Pools) {
		return
	}
	d.pools = config.Pools
	d.changed = true
	d.apply(d.ipam.SetPools(config.Pools))
}

// apply has outcomes written that other Services' changes have brought about.
func (d *decider) apply(outcomes []ipam.Outcome) {
	for _, o := range outcomes {
		s, ok := d.objects.service(o.Service)
		if ok && d.known[o.Service].uid == s.UID {
			d.write(o, d.sight(s))
		}
		// Else it is gone in the meantime, or has a successor: its key is in the queue.
	}
}

// write has one outcome written.
func (d *decider) write(o ipam.Outcome, seen sighting) {
	if seen.claim.Foreign {
		if d.known[o.Service].reason != o.Reason {
			d.log.Debug("left to others", lb.LogKeyService, o.Service.String(), lb.LogKeyReason, o.Reason.String(), lb.LogKeyMessage, o.Message)
		}
		d.count(o.Service, &known{uid: seen.uid, reason: lb.ReasonOtherClass, gap: lb.ReasonAnnounced})
		d.outbox.forget(o.Service) // another implementation's: not even tidied up
		return
	}
	want := desire(o)
	gap, announced := d.gap(o, seen)
	want.announced, want.contested = announced, d.custody.contestOn(o.Addresses)
	d.count(o.Service, &known{seen.uid, o.Reason, gap})
	d.outbox.put(draft{
		service: o.Service, uid: seen.uid, observed: seen.observed, want: want,
		cause: o.Cause, deprecated: seen.deprecated,
	})
	d.tell(o)
}

// tell logs an outcome that is news.
func (d *decider) tell(o ipam.Outcome) {
	if slices.Equal(o.Addresses, o.Previous) {
		return
	}
	d.changed = true
	d.log.Info("addresses decided", lb.LogKeyService, o.Service.String(), lb.LogKeyIP, join(o.Addresses),
		lb.LogKeyPool, o.Pool, lb.LogKeyReason, o.Reason.String(), lb.LogKeyMessage, firstNonEmpty(o.Cause, o.Message))
}

// count keeps the books on reasons. A nil k: the Service is gone.
func (d *decider) count(name lb.ServiceName, k *known) {
	old, ok := d.known[name]
	if k != nil && ok && old == *k {
		return
	}
	d.changed = true
	if ok {
		d.reasons[old.reason]--
		d.gaps[old.gap]--
		delete(d.known, name)
	}
	if k != nil {
		d.reasons[k.reason]++
		d.gaps[k.gap]++
		d.known[name] = *k
	}
}

// report gives the reporter the counters as they are now.
func (d *decider) report() {
	d.changed, d.custody.changed = false, false
	d.reporter.counted(books{
		usages: d.ipam.Usages(), services: maps.Clone(d.reasons), gaps: maps.Clone(d.gaps), waiting: d.ipam.Waiting(),
		reservations: maps.Clone(d.custody.states),
	})
}
