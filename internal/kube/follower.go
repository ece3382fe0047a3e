// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Follower tells of the objects of one kind, like an Informer, and keeps none of them:
// for those who keep of tens of thousands of objects what matters to them, and would pay
// for the rest, too. All methods are safe for concurrent use.
type Follower[T runtime.Object] struct {
	reader *reader[T]
	ledger *ledger[T]
}

// Follower returns a follower that is not running yet. It calls f for each object added
// (old is nil), changed, or removed (now is nil), one after the other, in order, on a
// goroutine of its own; f must not block. Of an object that was there before, old has the
// name and the namespace, and nothing else. Indexes have no meaning here.
func (r Resource[T]) Follower(w Watched[T], f func(old, now T)) (*Follower[T], error) {
	reader, err := newReader(r, w)
	if err != nil {
		return nil, err
	}
	if len(w.Indexes) > 0 {
		return nil, errors.New("prepare follower of " + r.name + ": what is not kept cannot be looked up")
	}
	return &Follower[T]{reader: reader, ledger: newLedger(r.empty, reader.trim, f)}, nil
}

// Run follows the API server until ctx ends, as Informer.Run does.
func (f *Follower[T]) Run(ctx context.Context) error { return f.reader.follow(ctx, f.ledger) }

// Synced reports whether all objects of the first complete list have been told of.
func (f *Follower[T]) Synced() bool { return f.ledger.synced.Load() }

// ledger knows which objects there are, and in which version, and nothing else. A
// reflector writes it, from one goroutine, on which it tells of what has changed.
type ledger[T runtime.Object] struct {
	empty  func() T
	trim   func(T)
	told   func(old, now T)
	synced atomic.Bool
	// versions are resource versions: an object that was made anew has another one, too.
	versions map[types.NamespacedName]string
}

func newLedger[T runtime.Object](empty func() T, trim func(T), told func(old, now T)) *ledger[T] {
	return &ledger[T]{empty: empty, trim: trim, told: told, versions: make(map[types.NamespacedName]string)}
}

// Add tells of an object that a watch shows.
func (l *ledger[T]) Add(obj any) error { return l.Update(obj) }

// Update tells of an object that a watch shows.
func (l *ledger[T]) Update(obj any) error {
	now, _, err := typed[T](obj)
	if err != nil {
		return err
	}
	l.trim(now)
	l.put(keyOf(now), now) // trimming may have it share its strings
	return nil
}

// Delete tells that an object is gone, if it was there.
func (l *ledger[T]) Delete(obj any) error {
	_, key, err := typed[T](obj)
	if err != nil {
		return err
	}
	l.remove(key)
	return nil
}

// Replace tells of what there is now; it has been trimmed. What has not changed is not
// told again.
func (l *ledger[T]) Replace(objs []any, _ string) error {
	if len(l.versions) == 0 {
		l.versions = make(map[types.NamespacedName]string, len(objs))
	}
	gone := maps.Clone(l.versions)
	for _, obj := range objs {
		now, key, err := typed[T](obj)
		if err != nil {
			return err
		}
		delete(gone, key)
		if version, known := l.versions[key]; !known || version != versionOf(now) {
			l.put(key, now)
		}
	}
	for key := range gone {
		l.remove(key)
	}
	l.synced.Store(true)
	return nil
}

// Resync has no meaning here.
func (l *ledger[T]) Resync() error { return nil }

func (l *ledger[T]) put(key types.NamespacedName, now T) {
	var old T
	if _, ok := l.versions[key]; ok {
		old = l.remnant(key)
		delete(l.versions, key) // the strings of the key are the object's: the old ones go with it
	}
	l.versions[key] = versionOf(now)
	l.told(old, now)
}

func (l *ledger[T]) remove(key types.NamespacedName) {
	if _, ok := l.versions[key]; !ok {
		return
	}
	delete(l.versions, key)
	var none T
	l.told(l.remnant(key), none)
}

// remnant returns what is left of an object.
func (l *ledger[T]) remnant(key types.NamespacedName) T {
	left := l.empty()
	meta := any(left).(object)
	meta.SetNamespace(key.Namespace)
	meta.SetName(key.Name)
	return left
}

func versionOf(obj runtime.Object) string { return obj.(object).GetResourceVersion() }
