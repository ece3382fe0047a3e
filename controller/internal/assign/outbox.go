// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"log/slog"
	"net/netip"
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
	// courtesy is how long a write waits for another Service to give up an address.
	// Past it, what needs no waiting is written: two may be waiting for each other.
	courtesy = 200 * time.Millisecond
	// trickle is the time between two Events while more urgent writes wait.
	trickle = 100 * time.Millisecond
)

// statusPatcher writes the status of the objects of one kind. kube.Resource is one.
type statusPatcher interface {
	PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
}

// eventSink takes Events to be written some time. It does not block.
type eventSink interface {
	Write(kube.Event)
}

// outbox makes the API server agree with the states that are wanted. While there is
// a difference it remembers what the API server has and what it shall have, so that
// there is one write for one change, one at a time, and only the latest counts.
// About a Service that is as it shall be it remembers nothing.
//
// An address that moves from one Service to another is in at most one status at any
// time: the write that gives it waits for the write that takes it. Whoever takes
// over after a crash in between finds no two Services with one address.
type outbox struct {
	services statusPatcher
	events   eventSink
	metrics  *metrics
	log      *slog.Logger

	queue workqueue.TypedRateLimitingInterface[lb.ServiceName]
	pace  *pace

	mu       sync.Mutex // guards what follows
	letters  map[lb.ServiceName]*letter
	quarters quarters
	// held are the Services whose write waits for an address to be left.
	held map[netip.Addr]map[lb.ServiceName]struct{}
}

func newOutbox(services statusPatcher, events eventSink, m *metrics, log *slog.Logger) *outbox {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[lb.ServiceName](firstRetry, lastRetry)
	return &outbox{
		services: services,
		events:   events,
		metrics:  m,
		log:      log,
		queue:    workqueue.NewTypedRateLimitingQueue(limiter),
		pace:     newPace(),
		letters:  map[lb.ServiceName]*letter{},
		quarters: quarters{},
		held:     map[netip.Addr]map[lb.ServiceName]struct{}{},
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
	if ok && l.uid != d.uid {
		o.drop(d.service)
		ok = false
	}
	if !ok {
		if d.observed.satisfies(d.want) {
			return
		}
		l = &letter{uid: d.uid, base: d.observed}
		o.letters[d.service] = l
	}
	o.rewrite(d.service, l, func() {
		l.see(d.observed)
		l.want, l.last, l.deprecated = d.want, false, d.deprecated
		l.cause = firstNonEmpty(d.cause, l.cause)
	})
	switch {
	case l.due():
		o.queue.Add(d.service)
	case l.done():
		o.drop(d.service)
	}
}

// clear removes what is ours from a Service that is gone or asks for no address any
// more. If it is gone, the API server will say so, and that is fine.
func (o *outbox) clear(name lb.ServiceName, uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[name]
	if !ok || l.uid != uid {
		o.drop(name)
		l = &letter{uid: uid, base: anything()}
		o.letters[name] = l
	}
	if l.base.blank() && !l.sending && !l.doubtful {
		o.drop(name)
		return
	}
	o.rewrite(name, l, func() { l.want, l.last = state{}, true })
	o.queue.Add(name)
}

// forget gives up whatever was to be written about a Service.
func (o *outbox) forget(name lb.ServiceName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(name)
}

// drop removes the letter of a Service, if there is one.
func (o *outbox) drop(name lb.ServiceName) {
	if l, ok := o.letters[name]; ok {
		o.rewrite(name, l, func() { *l = letter{last: true} })
		delete(o.letters, name)
	}
}

// rewrite changes a letter and lets those write who have waited for what that leaves:
// nobody for an attempt that has left nothing, or two that wait for each other would
// wake each other up for ever.
func (o *outbox) rewrite(name lb.ServiceName, l *letter, change func()) {
	before := l.lingering()
	o.quarters.leave(name, l)
	change()
	o.quarters.enter(name, l)
	for _, a := range without(before, l.lingering()) {
		for waiting := range o.held[a] {
			o.queue.Add(waiting)
		}
		delete(o.held, a)
	}
}

// backlog returns how many Services wait for a write.
func (o *outbox) backlog() int { return o.queue.Len() }

// giveWay holds an Event back for a moment while Services wait for a write, and in a
// crowd until it is over. To the API server an Event costs as much as an address.
func (o *outbox) giveWay(ctx context.Context) {
	if o.backlog() == 0 && o.pace.calm() {
		return
	}
	pause := time.NewTicker(trickle)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if !o.pace.crowded(o.backlog()) {
			return
		}
	}
}

// overdue returns the Services whose last write the informer should have shown by
// now.
func (o *outbox) overdue() []lb.ServiceName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []lb.ServiceName
	for name, l := range o.letters {
		if !l.written.IsZero() && time.Since(l.written) > patience {
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
	leave := o.pace.enter(ctx, o.backlog)
	defer leave()
	if ctx.Err() != nil {
		return false
	}
	l, c, ok := o.seal(name)
	if !ok {
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
// nothing to write, or not yet.
func (o *outbox) seal(name lb.ServiceName) (*letter, change, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[name]
	if !ok || !l.due() {
		return nil, change{}, false
	}
	want := l.want
	if taken := o.quarters.taken(name, want.addresses); len(taken) > 0 {
		if !o.mayGoAhead(name, l, taken) {
			return nil, change{}, false
		}
		want.addresses = without(want.addresses, taken)
	}
	if !l.last {
		now := time.Now()
		want.condition = want.condition.starting(l.base.condition, now)
		if want.announced.status != "" {
			want.announced = want.announced.starting(l.base.announced, now)
		}
		if want.contested.status != "" {
			want.contested = want.contested.starting(l.base.contested, now)
		}
	}
	o.rewrite(name, l, func() {
		l.sending = true
		l.sent = append(l.sent, want.addresses...)
	})
	return l, change{name, l.uid, l.base, want, l.cause, l.deprecated}, true
}

// mayGoAhead has a letter wait until the addresses have been left. It reports true if
// the letter has waited long enough to be written without them, which it must be
// where that leaves addresses that others wait for.
func (o *outbox) mayGoAhead(name lb.ServiceName, l *letter, taken []netip.Addr) bool {
	for _, a := range taken {
		if o.held[a] == nil {
			o.held[a] = map[lb.ServiceName]struct{}{}
		}
		o.held[a][name] = struct{}{}
	}
	if l.held.IsZero() {
		l.held = time.Now()
		o.queue.AddAfter(name, courtesy)
	}
	return len(l.lingering()) > 0 && time.Since(l.held) >= courtesy
}

// deliver records how a write ended, and tells the news or tries again.
func (o *outbox) deliver(l *letter, c change, err error) {
	switch o.settle(l, c, err) {
	case failed:
		o.log.Warn("status not written, trying again", lb.LogKeyService, c.service.String(), lb.LogKeyError, err)
		o.queue.AddRateLimited(c.service)
		return
	case obsolete:
	case accepted:
		for _, e := range news(c) {
			o.events.Write(e)
		}
	}
	o.queue.Forget(c.service)
}

// ending is how a write ended.
type ending int

const (
	accepted ending = iota
	failed
	// obsolete is the end of a letter: the Service is gone, or has been tidied up.
	obsolete
)

func (o *outbox) settle(l *letter, c change, err error) ending {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.letters[c.service] != l {
		return obsolete // another Service has the name by now
	}
	switch {
	case apierrors.IsNotFound(err), err != nil && l.last && kube.IsGone(err),
		err == nil && l.last && c.want.blank():
		o.drop(c.service)
		return obsolete
	case err != nil:
		// A conflict is a successor under the same name, which the informer will show
		// at once, or a write of somebody else at the same instant.
		o.rewrite(c.service, l, l.doubt)
		return failed
	}
	o.rewrite(c.service, l, func() { l.accept(c.want, c.cause) })
	switch {
	case l.due():
		o.queue.Add(c.service)
	case l.done():
		o.drop(c.service)
	}
	return accepted
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
