// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// writers is how many patches may be on their way at once. More gain nothing
	// with an API server of a few cores.
	writers = 16
	// firstRetry and lastRetry bound the wait after a failed write, which doubles
	// each time.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 30 * time.Second
	// patience is how long a successful write may stay unseen in the informer before
	// what the informer shows is believed instead: somebody may have undone it.
	patience = 30 * time.Second
)

// statusPatcher writes the status of the objects of one kind. kube.Resource is one.
type statusPatcher interface {
	PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
}

// eventSink takes Events to be written some time. It does not block.
type eventSink interface {
	Write(kube.Event)
}

// outbox makes the API server agree with the states that are wanted. For each
// Service it remembers what the API server has and what it shall have, so that
// there is one write for one change, one at a time, and only the latest counts.
type outbox struct {
	services statusPatcher
	events   eventSink
	metrics  *metrics
	log      *slog.Logger

	queue workqueue.TypedRateLimitingInterface[lb.ServiceName]

	mu      sync.Mutex // guards letters and unseen
	letters map[lb.ServiceName]*letter
	// unseen are the Services whose last write the informer has not shown yet.
	unseen map[lb.ServiceName]*letter
}

// letter is what there is to be written about one Service.
type letter struct {
	uid        types.UID
	base, want state
	cause      string
	deprecated []string
	// sending reports that a patch is on its way.
	sending bool
	// written is when base was written. Zero: base was observed.
	written time.Time
	// last reports that the Service is gone, or no load balancer any more: want is
	// blank, and after it has been written there is nothing left to remember.
	last bool
}

func newOutbox(services statusPatcher, events eventSink, m *metrics, log *slog.Logger) *outbox {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[lb.ServiceName](firstRetry, lastRetry)
	return &outbox{
		services: services,
		events:   events,
		metrics:  m,
		log:      log,
		queue:    workqueue.NewTypedRateLimitingQueue(limiter),
		letters:  map[lb.ServiceName]*letter{},
		unseen:   map[lb.ServiceName]*letter{},
	}
}

// draft is what the decider wants about one Service.
type draft struct {
	service lb.ServiceName
	uid     types.UID
	// observed is what the informer shows, want what shall be there.
	observed, want state
	cause          string
	deprecated     []string
}

// put sees to it that the API server gets the state that is wanted.
func (o *outbox) put(d draft) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[d.service]
	if !ok || l.uid != d.uid {
		l = &letter{uid: d.uid, base: d.observed}
		o.letters[d.service] = l
		delete(o.unseen, d.service)
	}
	o.see(d.service, l, d.observed)
	l.want, l.last = d.want, false
	if d.cause != "" {
		l.cause = d.cause
	}
	l.deprecated = d.deprecated
	if !l.base.satisfies(l.want) {
		o.queue.Add(d.service)
	}
}

// see takes notice of what the informer shows, unless it is older than what was
// written.
func (o *outbox) see(name lb.ServiceName, l *letter, observed state) {
	switch {
	case l.sending:
	case l.written.IsZero(), observed.satisfies(l.base), time.Since(l.written) > patience:
		l.base, l.written = observed, time.Time{}
		delete(o.unseen, name)
	}
}

// clear removes what is ours from a Service that is gone or asks for no address any
// more. If it is gone, the API server will say so, and that is fine.
func (o *outbox) clear(name lb.ServiceName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[name]
	switch {
	case !ok:
	case l.base.blank() && !l.sending:
		o.drop(name)
	default:
		l.want, l.last = state{}, true
		o.queue.Add(name)
	}
}

// forget gives up whatever was to be written about a Service.
func (o *outbox) forget(name lb.ServiceName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(name)
}

func (o *outbox) drop(name lb.ServiceName) {
	delete(o.letters, name)
	delete(o.unseen, name)
}

// backlog returns how many Services wait for a write.
func (o *outbox) backlog() int { return o.queue.Len() }

// giveWay holds an Event back while more Services wait for a write than can be
// written at once, though not for ever: news that never come are none.
func (o *outbox) giveWay(ctx context.Context) {
	const trickle = 50 * time.Millisecond
	if o.backlog() <= writers {
		return
	}
	pause := time.NewTimer(trickle)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}

// overdue returns the Services whose last write the informer should have shown by
// now.
func (o *outbox) overdue() []lb.ServiceName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []lb.ServiceName
	for name, l := range o.unseen {
		if time.Since(l.written) > patience {
			names = append(names, name)
		}
	}
	return names
}

// run writes until ctx ends. What is unwritten then stays so.
func (o *outbox) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, o.queue.ShutDown)
	defer stop()
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for o.writeNext(ctx) {
			}
		})
	}
	group.Wait()
	return nil
}

func (o *outbox) writeNext(ctx context.Context) bool {
	name, stopped := o.queue.Get()
	if stopped {
		return false
	}
	defer o.queue.Done(name)
	if ctx.Err() != nil {
		return false
	}
	l, c, ok := o.seal(name)
	if !ok {
		o.queue.Forget(name)
		return true
	}
	started := time.Now()
	err := o.services.PatchStatus(ctx, name.Namespace, name.Name, types.StrategicMergePatchType, patch(c.uid, c.base, c.want))
	if ctx.Err() != nil {
		return false // the term is over: nobody will read the letters again
	}
	o.metrics.observeWrite(time.Since(started), err)
	o.deliver(l, c, err)
	return true
}

// seal fixes what is written next about a Service. It reports false if there is
// nothing to write.
func (o *outbox) seal(name lb.ServiceName) (*letter, change, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[name]
	if !ok || !l.last && l.base.satisfies(l.want) {
		return nil, change{}, false
	}
	if !l.last {
		l.want.condition = l.want.condition.starting(l.base.condition, time.Now())
	}
	l.sending = true
	return l, change{name, l.uid, l.base, l.want, l.cause, l.deprecated}, true
}

// deliver records how a write ended, and tells the news or tries again.
func (o *outbox) deliver(l *letter, c change, err error) {
	retry, last := o.settle(l, c, err)
	switch {
	case retry:
		o.log.Warn("status not written, trying again", lb.LogKeyService, c.service, lb.LogKeyError, err)
		o.queue.AddRateLimited(c.service)
	case err == nil && !last:
		o.queue.Forget(c.service)
		for _, e := range news(c) {
			o.events.Write(e)
		}
	default:
		o.queue.Forget(c.service)
	}
}

func (o *outbox) settle(l *letter, c change, err error) (retry, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.letters[c.service] != l {
		return false, true // another Service has the name by now
	}
	l.sending = false
	switch {
	case apierrors.IsNotFound(err), err != nil && l.last && kube.IsGone(err):
		o.drop(c.service)
		return false, true
	case err != nil:
		// A conflict is a successor under the same name, which the informer will show
		// at once, or a write of somebody else at the same instant.
		return true, l.last
	case l.last && l.want.blank() && c.want.blank():
		o.drop(c.service)
		return false, true
	}
	l.base, l.written = c.want, time.Now()
	l.cause, l.deprecated = "", nil
	o.unseen[c.service] = l
	if l.last || !l.base.satisfies(l.want) {
		o.queue.Add(c.service)
	}
	return false, false
}
