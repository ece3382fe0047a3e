// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// statusWriters is how many writes may be on their way at once. After the death of
	// a node thousands of statuses are written by each of the others; clients are
	// served meanwhile, and nobody is in a hurry.
	statusWriters = 4
	// Unhurried is how long what is told to the API server waits. When addresses move, it
	// comes after the clients, whose processor time it may well share; and a status of what
	// moves to and fro need not be written at all.
	Unhurried = 250 * time.Millisecond
	// driftDelay is how long what the informer shows may lag behind our own writes.
	driftDelay = 2 * time.Second

	firstStatusRetry = 100 * time.Millisecond
	lastStatusRetry  = time.Minute
)

// StatusOwner says in whose name statuses are written.
type StatusOwner struct {
	Node lb.NodeName
	// Namespace is where status objects live.
	Namespace string
	// PodName and PodUID are those of the speaker's pod. When it goes, so do its
	// statuses. Without them statuses have no owner.
	PodName string
	PodUID  types.UID
}

// Statuses keep one object, a ServiceL2Status or a ServiceBGPStatus, for each Service
// that this node announces, and none for others. Writes happen in the background, few at a time, on change only,
// and are repeated until they succeed. All methods are safe for concurrent use.
type Statuses struct {
	// After is waited for before anything is written. Nil: there is nothing to wait for. It
	// is set before Run.
	After <-chan struct{}

	owner   StatusOwner
	kind    statusKind
	api     statusWriter
	log     *slog.Logger
	sweeper *sweeper
	errors  atomic.Uint64
	failing atomic.Bool   // the last write has failed
	amiss   chan struct{} // sessions are not what they were

	mu sync.Mutex // guards what follows
	// queue has the Services to look at. It is nil while Run does not run.
	queue workqueue.TypedRateLimitingInterface[lb.ServiceName]
	// wanted is what is to be reported of each announced Service.
	wanted map[lb.ServiceName]wantedStatus
	// there are the objects of this node, by Service: in the end, one each.
	there map[lb.ServiceName][]statusObject
	// of has the Services of these objects, by the names of the objects.
	of map[string]lb.ServiceName
	// complete means that what is not wanted may be deleted.
	complete bool
	// sessions are those that are not as they should be, by peer. Until sessionsKnown,
	// nobody knows.
	sessions      map[string]v1beta1.BGPSessionStatus
	sessionsKnown bool
}

// wantedStatus is what is to be reported of a Service.
type wantedStatus struct {
	content
	// told means that sessions are to be reported. Otherwise an object says what it said.
	told bool
}

// statusObject is an object as far as it concerns us.
type statusObject struct {
	name string
	uid  types.UID
	// ours means that it belongs to this pod, not to one that ran here before and
	// whose objects go with it.
	ours   bool
	filled bool // it has a status
	content
}

func newStatuses(owner StatusOwner, api statusWriter, log *slog.Logger, kind statusKind) *Statuses {
	s := &Statuses{
		owner:  owner,
		kind:   kind,
		api:    api,
		log:    log,
		amiss:  make(chan struct{}, 1),
		wanted: make(map[lb.ServiceName]wantedStatus),
		there:  make(map[lb.ServiceName][]statusObject),
		of:     make(map[string]lb.ServiceName),
	}
	s.sweeper = newSweeper(s)
	return s
}

// Selector matches the status objects of this node, for the informer that calls
// OnStatus or OnBGPStatus.
func (s *Statuses) Selector() string { return nodeSelector(s.owner.Node) }

func nodeSelector(node lb.NodeName) string { return v1beta1.LabelNode + "=" + labelValue(string(node)) }

// Announce reports that this node announces the Service on these interfaces, of which
// nil means all, or to these peers.
func (s *Statuses) Announce(service lb.ServiceName, items []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.wanted[service]
	if !ok || !sameInterfaces(old.items, items) {
		s.wanted[service] = s.want(items)
		s.enqueue(service, Unhurried)
	}
}

// Withdraw reports that this node does not announce the Service any more.
func (s *Statuses) Withdraw(service lb.ServiceName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wanted[service]; ok {
		delete(s.wanted, service)
		s.enqueue(service, Unhurried)
	}
}

// Complete says that every Service that this node announces has been reported. Until
// then no object is deleted: it may belong to a Service that comes later.
func (s *Statuses) Complete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete = true
	for service := range s.there {
		if _, ok := s.wanted[service]; !ok {
			s.enqueue(service, 0)
		}
	}
}

// Present reports whether there is an object that says that this node announces the
// Service.
func (s *Statuses) Present(service lb.ServiceName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.there[service] {
		if o.ours && o.filled {
			return true
		}
	}
	return false
}

// Sweep says whose statuses are to be deleted because nobody is there any more to do
// it. It replaces what was said before.
func (s *Statuses) Sweep(nodes []lb.NodeName) { s.sweeper.set(nodes) }

// on takes note of an object of this node that came, changed or went. Of old, the name
// counts.
func (s *Statuses) on(old, now foundStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var service lb.ServiceName
	if now.ObjectMeta == nil {
		service = s.of[old.Name]
		s.forget(old.Name)
	} else {
		service = lb.ServiceName{
			Namespace: unique.Make(now.Labels[v1beta1.LabelServiceNamespace]).Value(), Name: now.Labels[v1beta1.LabelServiceName],
		}
		s.remember(service, s.parse(now))
	}
	if _, wanted := s.wanted[service]; wanted || s.complete && now.ObjectMeta != nil {
		// It may be the echo of a write that is not finished: look when it is.
		s.enqueue(service, driftDelay)
	}
}

// enqueue has the Service looked at after a while. The caller holds the lock.
func (s *Statuses) enqueue(service lb.ServiceName, after time.Duration) {
	if s.queue != nil { // else Run will look at everything when it starts
		s.queue.AddAfter(service, after)
	}
}

func (s *Statuses) parse(o foundStatus) statusObject {
	parsed := statusObject{name: o.Name, uid: o.UID, ours: s.owner.PodUID == "", filled: o.node != "", content: o.content}
	for _, ref := range o.OwnerReferences {
		parsed.ours = parsed.ours || ref.UID == s.owner.PodUID
	}
	return parsed
}

// remember puts o in the place of the object of the same name.
func (s *Statuses) remember(service lb.ServiceName, o statusObject) {
	s.forget(o.name)
	s.there[service] = append(slices.Clip(s.there[service]), o)
	s.of[o.name] = service
}

func (s *Statuses) forget(name string) {
	service := s.of[name]
	delete(s.of, name)
	rest := slices.DeleteFunc(s.there[service], func(o statusObject) bool { return o.name == name })
	if len(rest) == 0 {
		delete(s.there, service)
	} else {
		s.there[service] = rest
	}
}

// Run writes until ctx ends.
func (s *Statuses) Run(ctx context.Context) error {
	if s.After != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-s.After:
		}
	}
	queue := s.open()
	stop := context.AfterFunc(ctx, queue.ShutDown)
	defer stop()
	var group sync.WaitGroup
	for range statusWriters {
		group.Go(func() {
			for s.writeNext(ctx, queue) {
			}
		})
	}
	group.Go(func() { s.sweeper.run(ctx) })
	group.Go(func() { s.revise(ctx) })
	group.Wait()
	return nil
}

// open makes the queue, with everything in it that is known already.
func (s *Statuses) open() workqueue.TypedRateLimitingInterface[lb.ServiceName] {
	s.mu.Lock()
	defer s.mu.Unlock()
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[lb.ServiceName](firstStatusRetry, lastStatusRetry)
	s.queue = workqueue.NewTypedRateLimitingQueue(limiter)
	for service := range s.wanted {
		s.queue.Add(service)
	}
	for service := range s.there {
		s.queue.Add(service)
	}
	return s.queue
}

func (s *Statuses) writeNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[lb.ServiceName]) bool {
	service, stopped := queue.Get()
	if stopped {
		return false
	}
	defer queue.Done(service)
	if ctx.Err() != nil {
		return false
	}
	err := s.write(ctx, service)
	switch {
	case err == nil:
		queue.Forget(service)
		s.failing.Store(false)
	case ctx.Err() == nil:
		s.complain(ctx, service, err)
		queue.AddRateLimited(service)
	}
	return true
}

// complain logs a failed write: an API server that is away makes thousands fail, of
// which one is news.
func (s *Statuses) complain(ctx context.Context, service lb.ServiceName, err error) {
	s.errors.Add(1)
	level := slog.LevelDebug
	if s.failing.CompareAndSwap(false, true) {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "status of a Service not written, trying again",
		lb.LogKeyService, service, lb.LogKeyError, err)
}

// errorCount returns how many writes have failed so far.
func (s *Statuses) errorCount() uint64 { return s.errors.Load() }

// draft is what there is to do about the objects of one Service.
type draft struct {
	wanted bool
	wantedStatus
	// keep is the object to keep; empty if one has to be created.
	keep string
	// correct means that keep does not say what it should.
	correct bool
	remove  []statusObject
}

func (s *Statuses) draft(service lb.ServiceName) draft {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draftOf(service)
}

// draftOf is draft for a caller who holds the lock.
func (s *Statuses) draftOf(service lb.ServiceName) draft {
	var d draft
	d.wantedStatus, d.wanted = s.wanted[service]
	for _, o := range s.there[service] {
		if d.wanted && o.ours && (d.keep == "" || o.name < d.keep) {
			d.keep = o.name
		}
	}
	for _, o := range s.there[service] {
		switch {
		case o.name == d.keep:
			d.correct = !o.filled || !slices.Equal(o.items, d.items) || d.told && !slices.Equal(o.sessions, d.sessions)
		case d.wanted || s.complete:
			d.remove = append(d.remove, o)
		}
	}
	return d
}

// write makes the objects of one Service what they should be.
func (s *Statuses) write(ctx context.Context, service lb.ServiceName) error {
	d := s.draft(service)
	if d.wanted && d.keep == "" {
		name, err := s.create(ctx, service)
		if err != nil {
			return err
		}
		d.keep, d.correct = name, true
	}
	if d.correct {
		if err := s.fill(ctx, service, d.keep, d.wantedStatus); err != nil {
			return err
		}
	}
	for _, o := range d.remove {
		if err := s.api.Delete(ctx, s.owner.Namespace, o.name, o.uid); err != nil {
			return err
		}
		s.mu.Lock()
		s.forget(o.name)
		s.mu.Unlock()
	}
	return nil
}

// create makes an object without a status: the API server accepts that on its own
// path only.
func (s *Statuses) create(ctx context.Context, service lb.ServiceName) (name string, err error) {
	meta := metav1.ObjectMeta{
		GenerateName: s.kind.prefix,
		Labels: map[string]string{
			v1beta1.LabelNode:             labelValue(string(s.owner.Node)),
			v1beta1.LabelServiceName:      service.Name,
			v1beta1.LabelServiceNamespace: service.Namespace,
		},
	}
	if s.owner.PodUID != "" {
		meta.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Pod", Name: s.owner.PodName, UID: s.owner.PodUID,
		}}
	}
	created, err := s.kind.create(ctx, s.owner.Namespace, meta)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(service, s.parse(created))
	return created.Name, nil
}

// fill writes the status of an object. If somebody has deleted it the error makes the
// next attempt create another.
func (s *Statuses) fill(ctx context.Context, service lb.ServiceName, name string, w wantedStatus) error {
	body, err := s.kind.patch(s.owner.Node, service, w.content, w.told)
	if err != nil {
		return err
	}
	err = s.api.PatchStatus(ctx, s.owner.Namespace, name, types.MergePatchType, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if kube.IsGone(err) {
			s.forget(name)
		}
		return err
	}
	for i := range s.there[service] {
		if o := &s.there[service][i]; o.name == name {
			o.filled, o.items = true, w.items
			if w.told {
				o.sessions = w.sessions
			}
		}
	}
	return nil
}
