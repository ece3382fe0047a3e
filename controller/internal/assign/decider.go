// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/controller/internal/ipam"
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
	namespaceLabels(name string) labels.Set
	config() lb.Objects
}

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

	queue workqueue.TypedInterface[key]
	ipam  *ipam.Allocator
	// known are the Services that ipam knows.
	known map[lb.ServiceName]known
	// reasons count the known Services by their reason.
	reasons map[lb.Reason]int
	pools   []lb.Pool
	// changed reports that the reporter has not got the latest counters.
	changed bool
}

type known struct {
	uid    string
	reason lb.Reason
}

func newDecider(o objects, owns func(*corev1.Service) bool, out *outbox, r *reporter, log *slog.Logger) *decider {
	return &decider{
		objects: o, owns: owns, outbox: out, reporter: r, log: log,
		queue:   workqueue.NewTyped[key](),
		ipam:    ipam.New(),
		known:   map[lb.ServiceName]known{},
		reasons: map[lb.Reason]int{},
	}
}

// run takes over what there is, then follows the changes until ctx ends. Whoever
// feeds the queue begins before run is called, so that no change is lost between.
func (d *decider) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.queue.ShutDown)
	defer stop()
	d.takeOver(ctx)
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

// takeOver adopts every address found in a Service's status, the oldest Service
// first, before any other is given; then all claims are looked at, in that order.
func (d *decider) takeOver(ctx context.Context) {
	started := time.Now()
	d.configure()
	var claims []ipam.Claim
	for _, s := range d.objects.services() {
		if d.owns(s) {
			claims = append(claims, d.claim(s))
		}
	}
	slices.SortFunc(claims, byAge)
	causes := map[lb.ServiceName]string{}
	for _, c := range claims {
		if len(c.Service.Addresses) == 0 {
			continue
		}
		if o := d.ipam.Adopt(c); o.Cause != "" {
			causes[o.Service] = o.Cause
		}
	}
	adopted := time.Since(started)
	for _, c := range claims {
		if ctx.Err() != nil {
			return
		}
		d.assign(c, causes[c.Service.Name])
	}
	d.report()
	d.log.Info("taken over", lb.LogKeyCount, len(claims), "adopted_after", adopted, "decided_after", time.Since(started))
}

func byAge(a, b ipam.Claim) int {
	return cmp.Or(a.Service.Created.Compare(b.Service.Created),
		cmp.Compare(a.Service.Name.Namespace, b.Service.Name.Namespace),
		cmp.Compare(a.Service.Name.Name, b.Service.Name.Name))
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
	default:
		d.reconcile(lb.ServiceName(k))
	}
}

// reconcile brings one Service up to date.
func (d *decider) reconcile(name lb.ServiceName) {
	s, ok := d.objects.service(name)
	ours := ok && d.owns(s)
	if k, isKnown := d.known[name]; isKnown && (!ours || k.uid != string(s.UID)) {
		d.release(name)
	}
	switch {
	case ours:
		d.assign(d.claim(s), "")
	case ok:
		d.outbox.forget(name) // another implementation's: not even tidied up
	default:
		d.outbox.clear(name)
	}
}

// assign makes the claim the Service's current one. cause is why addresses found at
// the takeover were not adopted.
func (d *decider) assign(c ipam.Claim, cause string) {
	out := d.ipam.Assign(c)
	if out[0].Cause == "" {
		out[0].Cause = cause
	}
	d.apply(out)
}

func (d *decider) release(name lb.ServiceName) {
	d.count(name, nil)
	d.apply(d.ipam.Release(name))
	d.changed = true
}

// configure reads the configuration anew.
func (d *decider) configure() {
	objs := d.objects.config()
	config, problems := lb.ParseConfig(objs)
	d.reporter.configured(objs, problems)
	// Labels and edits of other kinds change nothing here, and happen more often.
	if d.pools != nil && reflect.DeepEqual(d.pools, config.Pools) {
		return
	}
	d.pools = config.Pools
	d.changed = true
	d.apply(d.ipam.SetPools(config.Pools))
}

// apply has the outcomes written.
func (d *decider) apply(outcomes []ipam.Outcome) {
	for _, o := range outcomes {
		s, ok := d.objects.service(o.Service)
		if k := d.known[o.Service]; !ok || k.uid != "" && k.uid != string(s.UID) {
			continue // gone in the meantime, or succeeded: its own key is in the queue
		}
		svc, problems := lb.ParseService(s)
		d.count(o.Service, &known{svc.UID, o.Reason})
		d.outbox.put(draft{
			service: o.Service, uid: s.UID, observed: observe(s, &svc), want: desire(o),
			cause: o.Cause, deprecated: deprecated(problems),
		})
		d.tell(o)
	}
}

// tell logs an outcome that is news.
func (d *decider) tell(o ipam.Outcome) {
	if slices.Equal(o.Addresses, o.Previous) {
		return
	}
	d.changed = true
	d.log.Info("addresses decided", lb.LogKeyService, o.Service, lb.LogKeyIP, o.Addresses, "previous", o.Previous,
		lb.LogKeyPool, o.Pool, lb.LogKeyReason, o.Reason, lb.LogKeyMessage, o.Message, "cause", o.Cause)
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
		delete(d.known, name)
	}
	if k != nil {
		d.reasons[k.reason]++
		d.known[name] = *k
	}
}

// claim returns what the Service asks for.
func (d *decider) claim(s *corev1.Service) ipam.Claim {
	svc, problems := lb.ParseService(s)
	c := ipam.Claim{Service: &svc, NamespaceLabels: d.objects.namespaceLabels(s.Namespace)}
	for _, p := range problems {
		if p.Fatal {
			c.Invalid = strings.TrimPrefix(c.Invalid+"; "+p.Field+": "+p.Message, "; ")
		}
	}
	return c
}

// deprecated returns what there is to say about deprecated annotations.
func deprecated(problems []lb.Problem) []string {
	var messages []string
	for _, p := range problems {
		if p.Reason == lb.ReasonDeprecated {
			messages = append(messages, p.Message)
		}
	}
	return messages
}

// report gives the reporter the counters as they are now.
func (d *decider) report() {
	d.changed = false
	r := make(map[lb.Reason]int, len(d.reasons))
	for reason, n := range d.reasons {
		r[reason] = n
	}
	d.reporter.counted(books{usages: d.ipam.Usages(), services: r, waiting: d.ipam.Waiting()})
}
