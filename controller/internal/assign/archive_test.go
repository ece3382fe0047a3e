// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/lb"
)

// reservationStore are the AddressReservations of a cluster: what there is, and what the
// informer shows.
type reservationStore struct {
	stored, shown map[lb.ReservationName]*v1alpha1.AddressReservation
	writes        int
}

func newReservationStore() reservationStore {
	return reservationStore{
		stored: map[lb.ReservationName]*v1alpha1.AddressReservation{},
		shown:  map[lb.ReservationName]*v1alpha1.AddressReservation{},
	}
}

// put stores an object, or with nil deletes it, and has the informer show that. The
// cluster is locked.
func (c *cluster) put(name lb.ReservationName, now *v1alpha1.AddressReservation) {
	old := c.reserve.stored[name]
	delete(c.reserve.stored, name)
	if now != nil {
		c.reserve.stored[name] = now
	}
	service := lb.ServiceName{Namespace: name.Namespace}
	if o := firstObject(now, old); o != nil {
		service.Name = o.Spec.ServiceName
	}
	tell := func(about lb.ServiceName, show func()) {
		c.seq++
		c.notices = append(c.notices, notice{name: about, seq: c.seq, show: show})
	}
	tell(service, func() {
		delete(c.reserve.shown, name)
		if now != nil {
			c.reserve.shown[name] = now
		}
	})
	if old != nil && old.Spec.ServiceName != service.Name { // made anew, for another Service
		tell(lb.ServiceName{Namespace: name.Namespace, Name: old.Spec.ServiceName}, func() {})
	}
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

func firstObject(a, b *v1alpha1.AddressReservation) *v1alpha1.AddressReservation {
	if a != nil {
		return a
	}
	return b
}

// reservation makes a reservation, or changes the one there is, as users do.
func (c *cluster) reservation(name string, edit func(*v1alpha1.AddressReservation)) lb.ReservationName {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := lb.ReservationName{Namespace: "shop", Name: name}
	c.uids++
	c.clock++
	o := &v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{
		Namespace: full.Namespace, Name: name, UID: types.UID(fmt.Sprint("r", c.uids)), CreationTimestamp: metav1.Unix(c.clock, 0),
	}}
	if old, ok := c.reserve.stored[full]; ok {
		o = old.DeepCopy()
	}
	edit(o)
	o.Generation++
	c.put(full, o)
	return full
}

func (c *cluster) unreserve(name lb.ReservationName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(name, nil)
}

// stands returns "state Reason" of a reservation, or "none".
func (c *cluster) stands(name lb.ReservationName) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.reserve.stored[name]
	if !ok {
		return "none"
	}
	text := string(o.Status.State)
	for _, cond := range o.Status.Conditions {
		text += " " + cond.Reason
	}
	return text
}

func (c *cluster) reserved(name lb.ReservationName) *v1alpha1.AddressReservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reserve.stored[name].DeepCopy()
}

// The reservations interface: what the informer shows.

func (c *cluster) someReservations(wanted func(*v1alpha1.AddressReservation) bool) []*v1alpha1.AddressReservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Collect(maps.Values(c.reserve.shown))
	return slices.DeleteFunc(all, func(o *v1alpha1.AddressReservation) bool { return !wanted(o) })
}

func (c *cluster) allReservations() []*v1alpha1.AddressReservation {
	return c.someReservations(func(*v1alpha1.AddressReservation) bool { return true })
}

func (c *cluster) reservationsIn(namespace string) []*v1alpha1.AddressReservation {
	return c.someReservations(func(o *v1alpha1.AddressReservation) bool { return o.Namespace == namespace })
}

func (c *cluster) reservationsFor(name lb.ServiceName) []*v1alpha1.AddressReservation {
	return c.someReservations(func(o *v1alpha1.AddressReservation) bool {
		return o.Namespace == name.Namespace && o.Spec.ServiceName == name.Name
	})
}

// archived is the cluster as an archive: the API server's side of reservations.
type archived struct{ *cluster }

var reservationResource = schema.GroupResource{Group: v1alpha1.GroupName, Resource: "addressreservations"}

// attempt performs a write, which may be slow and fail before or after it was carried out.
func (a archived) attempt(ctx context.Context, write func() error) error {
	a.pause(ctx, 50)
	before, after := a.fate(), a.fate()
	a.mu.Lock()
	before = before || a.unreachable
	a.mu.Unlock()
	if before {
		return errors.New("connection refused")
	}
	a.mu.Lock()
	a.reserve.writes++
	err := write()
	a.mu.Unlock()
	if err == nil && after {
		return errors.New("connection reset")
	}
	return err
}

func (a archived) Create(ctx context.Context, namespace string, o *v1alpha1.AddressReservation) (*v1alpha1.AddressReservation, error) {
	name := lb.ReservationName{Namespace: namespace, Name: o.Name}
	return o, a.attempt(ctx, func() error {
		if _, ok := a.reserve.stored[name]; ok {
			return apierrors.NewAlreadyExists(reservationResource, o.Name)
		}
		stored := o.DeepCopy()
		a.uids++
		stored.UID, stored.Generation = types.UID(fmt.Sprint("r", a.uids)), 1
		stored.CreationTimestamp = metav1.NewTime(time.Now())
		a.put(name, stored)
		return nil
	})
}

func (a archived) Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	return a.patch(ctx, lb.ReservationName{Namespace: namespace, Name: name}, kind, body, func(old, now *v1alpha1.AddressReservation) {
		now.Status = old.Status
		now.Generation++
	})
}

func (a archived) PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	return a.patch(ctx, lb.ReservationName{Namespace: namespace, Name: name}, kind, body, func(old, now *v1alpha1.AddressReservation) {
		now.Spec = old.Spec
	})
}

func (a archived) patch(ctx context.Context, name lb.ReservationName, kind types.PatchType, body []byte, restore func(old, now *v1alpha1.AddressReservation)) error {
	return a.attempt(ctx, func() error {
		if kind != types.MergePatchType {
			a.t.Errorf("patch of type %s", kind)
		}
		old, ok := a.reserve.stored[name]
		if !ok {
			return apierrors.NewNotFound(reservationResource, name.Name)
		}
		now := &v1alpha1.AddressReservation{}
		if err := through(old, body, now); err != nil {
			return err
		}
		if now.UID != old.UID {
			return apierrors.NewConflict(reservationResource, name.Name, errors.New("precondition failed: UID"))
		}
		restore(old, now)
		a.put(name, now)
		return nil
	})
}

func (a archived) Delete(ctx context.Context, namespace, name string, uid types.UID) error {
	full := lb.ReservationName{Namespace: namespace, Name: name}
	return a.attempt(ctx, func() error {
		if old, ok := a.reserve.stored[full]; ok && old.UID == uid {
			a.put(full, nil)
		}
		return nil
	})
}

// through applies a merge patch (RFC 7386) to old and fills now with the result.
func through(old any, body []byte, now any) error {
	var target, patch map[string]any
	original, err := json.Marshal(old)
	if err == nil {
		err = errors.Join(json.Unmarshal(original, &target), json.Unmarshal(body, &patch))
	}
	if err != nil {
		return err
	}
	patched, err := json.Marshal(merge(target, patch))
	if err != nil {
		return err
	}
	return json.Unmarshal(patched, now)
}

func merge(target any, patch map[string]any) map[string]any {
	merged, ok := target.(map[string]any)
	if !ok {
		merged = map[string]any{}
	}
	for field, value := range patch {
		part, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(merged, field)
		case isObject:
			merged[field] = merge(merged[field], part)
		default:
			merged[field] = value
		}
	}
	return merged
}
