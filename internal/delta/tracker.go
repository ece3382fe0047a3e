// SPDX-License-Identifier: Apache-2.0

package delta

import "iter"

// Tracker holds a desired and an actual value for each key. A key is in one of three
// places, so that a set in which nothing is pending is stored once:
//
//	      desired                     actual
//	┌──────────────────┬─────────┬──────────────────┐
//	│ updates          │ synced  │ deletions        │
//	│ desired, and not │ equal   │ actual, and not  │
//	│ equal to actual  │         │ desired          │
//	└──────────────────┴─────────┴──────────────────┘
//
// Every operation on one key takes constant time; iteration over what is pending takes
// time in proportion to what is pending, however much is tracked. Create one with New or
// NewComparable.
type Tracker[K comparable, V any] struct {
	equal     func(a, b V) bool
	synced    map[K]V
	updates   pending[K, update[V]]
	deletions pending[K, V]
	// changes is how many of the updates have an actual value.
	changes int
}

// update is a desired value beside the actual one it differs from, if there is one.
type update[V any] struct {
	desired, actual V
	exists          bool
}

// New returns an empty tracker. Values that are equal are taken for one another:
// equal must ignore only what makes no difference to the world.
func New[K comparable, V any](equal func(a, b V) bool) *Tracker[K, V] {
	return &Tracker[K, V]{equal: equal, synced: make(map[K]V)}
}

// NewComparable returns an empty tracker of values that == compares.
func NewComparable[K, V comparable]() *Tracker[K, V] {
	return New[K](func(a, b V) bool { return a == b })
}

// SetDesired says that v is wanted under k.
func (t *Tracker[K, V]) SetDesired(k K, v V) {
	actual, exists := t.Actual(k)
	t.place(k, &v, known(actual, exists))
}

// DeleteDesired says that nothing is wanted under k.
func (t *Tracker[K, V]) DeleteDesired(k K) {
	actual, exists := t.Actual(k)
	t.place(k, nil, known(actual, exists))
}

// SetActual says that v is there under k: it was applied with success, or was found
// there. If by now something else is desired, that stays pending.
func (t *Tracker[K, V]) SetActual(k K, v V) {
	desired, wanted := t.Desired(k)
	t.place(k, known(desired, wanted), &v)
}

// DeleteActual says that nothing is there under k: it was deleted with success, or was
// not found. If by now something is desired, that becomes pending.
func (t *Tracker[K, V]) DeleteActual(k K) {
	desired, wanted := t.Desired(k)
	t.place(k, known(desired, wanted), nil)
}

// Desired returns what is wanted under k.
func (t *Tracker[K, V]) Desired(k K) (V, bool) {
	if v, ok := t.synced[k]; ok {
		return v, true
	}
	u, ok := t.updates.entries[k]
	return u.desired, ok
}

// Actual returns what is there under k.
func (t *Tracker[K, V]) Actual(k K) (V, bool) {
	if v, ok := t.synced[k]; ok {
		return v, true
	}
	if u, ok := t.updates.entries[k]; ok {
		return u.actual, u.exists
	}
	v, ok := t.deletions.entries[k]
	return v, ok
}

// PendingUpdates yields what is desired and not there, with the desired value, in no
// particular order. The tracker may be changed meanwhile: an entry that is no longer
// pending is then not yielded, a new one may or may not be.
func (t *Tracker[K, V]) PendingUpdates() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, u := range t.updates.all() {
			if !yield(k, u.desired) {
				return
			}
		}
	}
}

// PendingDeletions yields what is there and not desired, with the actual value, in no
// particular order. The same holds for changes meanwhile as for PendingUpdates.
func (t *Tracker[K, V]) PendingDeletions() iter.Seq2[K, V] { return t.deletions.all() }

// AllDesired yields everything desired, in no particular order.
func (t *Tracker[K, V]) AllDesired() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, v := range t.synced {
			if !yield(k, v) {
				return
			}
		}
		for k, u := range t.updates.all() {
			if !yield(k, u.desired) {
				return
			}
		}
	}
}

// AllActual yields everything that is there, in no particular order.
func (t *Tracker[K, V]) AllActual() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, v := range t.synced {
			if !yield(k, v) {
				return
			}
		}
		for k, u := range t.updates.all() {
			if u.exists && !yield(k, u.actual) {
				return
			}
		}
		for k, v := range t.deletions.all() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// CountDesired returns how many keys have a desired value.
func (t *Tracker[K, V]) CountDesired() int { return len(t.synced) + t.CountUpdates() }

// CountActual returns how many keys have an actual value.
func (t *Tracker[K, V]) CountActual() int { return len(t.synced) + t.changes + t.CountDeletions() }

// CountUpdates returns how many updates are pending.
func (t *Tracker[K, V]) CountUpdates() int { return len(t.updates.entries) }

// CountDeletions returns how many deletions are pending.
func (t *Tracker[K, V]) CountDeletions() int { return len(t.deletions.entries) }

// InSync reports whether nothing is pending.
func (t *Tracker[K, V]) InSync() bool { return t.CountUpdates() == 0 && t.CountDeletions() == 0 }

// place moves k to where its desired and actual values, nil when absent, belong.
func (t *Tracker[K, V]) place(k K, desired, actual *V) {
	if desired != nil && actual != nil && t.equal(*desired, *actual) {
		t.remove(k)
		t.synced[k] = *desired
		return
	}
	delete(t.synced, k)
	t.remove(k)
	switch {
	case desired != nil && actual != nil:
		t.updates.set(k, update[V]{*desired, *actual, true})
		t.changes++
	case desired != nil:
		t.updates.set(k, update[V]{desired: *desired})
	case actual != nil:
		t.deletions.set(k, *actual)
	}
}

// remove takes k out of what is pending.
func (t *Tracker[K, V]) remove(k K) {
	if u, ok := t.updates.entries[k]; ok {
		if u.exists {
			t.changes--
		}
		delete(t.updates.entries, k)
	}
	delete(t.deletions.entries, k)
}

func known[V any](v V, ok bool) *V {
	if !ok {
		return nil
	}
	return &v
}
