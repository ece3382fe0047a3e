// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// clerks is how many reservations may be written at once.
const clerks = 4

// archive is write access to AddressReservations. kube.Resource is one.
type archive interface {
	Create(ctx context.Context, namespace string, o *v1alpha1.AddressReservation) (*v1alpha1.AddressReservation, error)
	Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	Delete(ctx context.Context, namespace, name string, uid types.UID) error
}

// filing is what is to be written about one reservation.
type filing struct {
	name lb.ReservationName
	// uid is that of the object that is meant. Empty: there is none, and spec is to be
	// made.
	uid types.UID
	// spec and status are what it shall say. Nil: that is as it shall be.
	spec   *lb.Reservation
	status *v1alpha1.AddressReservationStatus
	remove bool
}

// over returns f, and of what was to be written before what f says nothing about.
func (f filing) over(before filing) filing {
	if f.uid != before.uid {
		return f
	}
	if f.spec == nil {
		f.spec = before.spec
	}
	if f.status == nil {
		f.status = before.status
	}
	return f
}

// registrar writes reservations, each until that has succeeded or the object is gone.
type registrar struct {
	archive archive
	// open reports whether nobody else can lead.
	open    func() bool
	metrics *metrics
	log     *slog.Logger
	queue   workqueue.TypedRateLimitingInterface[lb.ReservationName]

	mu      sync.Mutex // guards pending
	pending map[lb.ReservationName]filing
}

func newRegistrar(a archive, open func() bool, m *metrics, log *slog.Logger) *registrar {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[lb.ReservationName](firstRetry, lastRetry)
	return &registrar{
		archive: a, open: open, metrics: m, log: log,
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
		pending: map[lb.ReservationName]filing{},
	}
}

// file has f written some time. It does not block.
func (r *registrar) file(f filing) {
	r.mu.Lock()
	r.pending[f.name] = f.over(r.pending[f.name])
	r.mu.Unlock()
	r.queue.Add(f.name)
}

// run writes until ctx ends. What is unwritten then stays so.
func (r *registrar) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, r.queue.ShutDown)
	defer stop()
	var group sync.WaitGroup
	for range clerks {
		group.Go(func() {
			for r.writeNext(ctx) {
			}
		})
	}
	group.Wait()
	return nil
}

func (r *registrar) writeNext(ctx context.Context) bool {
	name, stopped := r.queue.Get()
	if stopped {
		return false
	}
	defer r.queue.Done(name)
	r.mu.Lock()
	f, ok := r.pending[name]
	delete(r.pending, name)
	r.mu.Unlock()
	if !ok {
		return true
	}
	err := r.write(ctx, f)
	if ctx.Err() != nil {
		return false
	}
	r.metrics.countUpdate(err)
	switch {
	case err == nil, kube.IsGone(err), apierrors.IsInvalid(err) && f.uid != "":
		// There is another object under this name, of which the informer will tell: the
		// API server says so in one of these ways.
		r.queue.Forget(name)
		return true
	}
	r.log.Warn("reservation not written, trying again", lb.LogKeyObject, name.String(), lb.LogKeyError, err)
	r.mu.Lock()
	if newer, ok := r.pending[name]; ok {
		f = newer.over(f)
	}
	r.pending[name] = f
	r.mu.Unlock()
	r.queue.AddRateLimited(name)
	return true
}

func (r *registrar) write(ctx context.Context, f filing) error {
	namespace, name := f.name.Namespace, f.name.Name
	switch {
	case !r.open():
		return errNotLeading
	case f.remove:
		return r.archive.Delete(ctx, namespace, name, f.uid)
	case f.uid == "":
		_, err := r.archive.Create(ctx, namespace, reservationOf(f))
		if apierrors.IsAlreadyExists(err) {
			// Made by ourselves, and the informer will show it; or the name is taken by
			// one that somebody has written for another Service.
			r.log.Info("reservation is there already", lb.LogKeyObject, f.name.String(), lb.LogKeyService, f.spec.Service.String())
			return nil
		}
		return err
	}
	if f.spec != nil {
		if err := r.archive.Patch(ctx, namespace, name, types.MergePatchType, specPatch(f)); err != nil {
			return err
		}
	}
	if f.status != nil {
		return r.archive.PatchStatus(ctx, namespace, name, types.MergePatchType, reservationStatusPatch(f))
	}
	return nil
}

// reservationOf returns the object that f wants made.
func reservationOf(f filing) *v1alpha1.AddressReservation {
	o := &v1alpha1.AddressReservation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.name.Namespace, Name: f.name.Name,
			Labels: map[string]string{v1alpha1.LabelFromAnnotation: "true"},
		},
		Spec: v1alpha1.AddressReservationSpec{ServiceName: f.spec.Service.Name, SharingKey: f.spec.SharingKey},
	}
	for _, a := range f.spec.Addresses {
		o.Spec.Addresses = append(o.Spec.Addresses, a.String())
	}
	if f.spec.TTL > 0 {
		o.Spec.TTL = &metav1.Duration{Duration: f.spec.TTL}
	}
	return o
}

// specPatch returns the merge patch that makes the spec say what f wants. The UID makes
// the API server refuse it for another object under the same name.
func specPatch(f filing) []byte {
	want := reservationOf(f).Spec
	spec := map[string]any{"addresses": want.Addresses, "ttl": want.TTL, "sharingKey": nil}
	if want.SharingKey != "" {
		spec["sharingKey"] = want.SharingKey
	}
	return mergePatch(f, "spec", spec)
}

func reservationStatusPatch(f filing) []byte {
	return mergePatch(f, "status", map[string]any{
		"state": f.status.State, "conditions": f.status.Conditions,
		"releasedAt": f.status.ReleasedAt, "expiresAt": f.status.ExpiresAt,
	})
}

func mergePatch(f filing, part string, fields map[string]any) []byte {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": f.uid}, part: fields})
	if err != nil {
		panic("assign: marshal the " + part + " of reservation " + f.name.String() + ": " + err.Error())
	}
	return body
}
