// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Watched says which objects of a kind an Informer or a Follower follows.
// The zero value is all of them, untrimmed.
type Watched[T runtime.Object] struct {
	// Namespace limits the watch; empty is all namespaces.
	Namespace string
	// LabelSelector and FieldSelector limit it further, in the API's syntax.
	LabelSelector string
	FieldSelector string
	// Trim drops from an object, in place, what nobody will read. It runs before the
	// object is stored. Nil keeps all but managedFields.
	Trim func(T)
	// Indexes are extra look-ups, by name: each returns the values to find obj under.
	Indexes map[string]func(obj T) []string
}

// object is what API types are.
type object interface {
	runtime.Object
	metav1.Object
}

// Informer keeps a local copy of the objects of one kind. Objects that it returns
// are shared and must not be modified. All methods are safe for concurrent use.
type Informer[T runtime.Object] struct {
	reader *reader[T]
	store  *store[T]
}

// Informer returns an informer that is not running yet.
func (r Resource[T]) Informer(w Watched[T]) (*Informer[T], error) {
	reader, err := newReader(r, w)
	if err != nil {
		return nil, err
	}
	return &Informer[T]{reader: reader, store: newStore(reader.trim, w.Indexes)}, nil
}

// OnChange calls f for each object added (old is nil), changed, or removed (now is
// nil). Calls for one handler come one after the other, in order, on a goroutine of
// the informer; f must not block. Call it before Run.
func (i *Informer[T]) OnChange(f func(old, now T)) error {
	i.store.told = append(i.store.told, f)
	return nil
}

// Run follows the API server until ctx ends, reconnecting as needed, and returns
// after the informer's goroutines have ended. It returns nil.
func (i *Informer[T]) Run(ctx context.Context) error { return i.reader.follow(ctx, i.store) }

// Synced reports whether the first complete list has arrived and every OnChange
// function has seen all of it.
func (i *Informer[T]) Synced() bool { return i.store.synced.Load() }

// Get returns the object with that name. Namespace is empty for cluster-scoped kinds.
func (i *Informer[T]) Get(namespace, name string) (T, bool) {
	return i.store.get(types.NamespacedName{Namespace: namespace, Name: name})
}

// List returns all objects, in no particular order.
func (i *Informer[T]) List() []T { return i.store.list() }

// ByIndex returns the objects that the index has under value, in no particular
// order. An index that was not declared in Watched has none.
func (i *Informer[T]) ByIndex(index, value string) []T { return i.store.byIndex(index, value) }

// Syncer is anything with a first synchronisation to wait for.
type Syncer interface{ Synced() bool }

// syncPoll is how often WaitForSync looks. A start waits for it more than once.
const syncPoll = 10 * time.Millisecond

// WaitForSync blocks until all syncers have synced, or returns ctx's error.
func WaitForSync(ctx context.Context, syncers ...Syncer) error {
	missing := func(s Syncer) bool { return !s.Synced() }
	poll := time.NewTicker(syncPoll)
	defer poll.Stop()
	for slices.ContainsFunc(syncers, missing) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the first list of objects: %w", context.Cause(ctx))
		case <-poll.C:
		}
	}
	return nil
}
