// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// Watched says which objects of a kind an Informer follows.
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

// Informer keeps a local copy of the objects of one kind. Objects that it returns
// are shared and must not be modified. All methods are safe for concurrent use.
type Informer[T runtime.Object] struct {
	shared  cache.SharedIndexInformer
	handled []cache.ResourceEventHandlerRegistration
}

// Informer returns an informer that is not running yet.
func (r Resource[T]) Informer(w Watched[T]) (*Informer[T], error) {
	limit := func(o *metav1.ListOptions) { o.LabelSelector, o.FieldSelector = w.LabelSelector, w.FieldSelector }
	lw := cache.NewFilteredListWatchFromClient(r.client, r.name, w.Namespace, limit)
	indexers := cache.Indexers{}
	for name, index := range w.Indexes {
		indexers[name] = func(obj any) ([]string, error) { return index(obj.(T)), nil }
	}
	shared := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, r.client), r.empty(), 0, indexers)
	err := shared.SetTransform(func(obj any) (any, error) {
		if t, ok := obj.(T); ok {
			trimMeta(t)
			if w.Trim != nil {
				w.Trim(t)
			}
		}
		return obj, nil
	})
	if err != nil {
		return nil, fmt.Errorf("prepare informer of %s: %w", r.name, err)
	}
	return &Informer[T]{shared: shared}, nil
}

// OnChange calls f for each object added (old is nil), changed, or removed (now is
// nil). Calls for one handler come one after the other, in order, on a goroutine of
// the informer; f must not block. Call it before Run.
func (i *Informer[T]) OnChange(f func(old, now T)) error {
	var none T
	reg, err := i.shared.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { f(none, obj.(T)) },
		UpdateFunc: func(old, now any) { f(old.(T), now.(T)) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if t, ok := obj.(T); ok {
				f(t, none)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("add event handler: %w", err)
	}
	i.handled = append(i.handled, reg)
	return nil
}

// Run follows the API server until ctx ends, reconnecting as needed, and returns
// after the informer's goroutines have ended. It returns nil.
func (i *Informer[T]) Run(ctx context.Context) error {
	i.shared.RunWithContext(ctx)
	return nil
}

// Synced reports whether the first complete list has arrived and every OnChange
// function has seen all of it.
func (i *Informer[T]) Synced() bool {
	if !i.shared.HasSynced() {
		return false
	}
	for _, reg := range i.handled {
		if !reg.HasSynced() {
			return false
		}
	}
	return true
}

// Get returns the object with that name. Namespace is empty for cluster-scoped kinds.
func (i *Informer[T]) Get(namespace, name string) (T, bool) {
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	obj, ok, err := i.shared.GetIndexer().GetByKey(key)
	if err != nil || !ok {
		var none T
		return none, false
	}
	return obj.(T), true
}

// List returns all objects, in no particular order.
func (i *Informer[T]) List() []T {
	return typed[T](i.shared.GetIndexer().List())
}

// ByIndex returns the objects that the index has under value, in no particular
// order. An index that was not declared in Watched has none.
func (i *Informer[T]) ByIndex(index, value string) []T {
	objs, err := i.shared.GetIndexer().ByIndex(index, value)
	if err != nil {
		return nil
	}
	return typed[T](objs)
}

func typed[T any](objs []any) []T {
	ts := make([]T, len(objs))
	for n, obj := range objs {
		ts[n] = obj.(T)
	}
	return ts
}

// Syncer is anything with a first synchronisation to wait for.
type Syncer interface{ Synced() bool }

// WaitForSync blocks until all syncers have synced, or returns ctx's error.
func WaitForSync(ctx context.Context, syncers ...Syncer) error {
	synced := make([]cache.InformerSynced, len(syncers))
	for n, s := range syncers {
		synced[n] = s.Synced
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return fmt.Errorf("wait for the first list of objects: %w", context.Cause(ctx))
	}
	return nil
}
