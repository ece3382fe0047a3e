// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// store is an informer's copy of the objects. A reflector fills it, from one goroutine,
// on which it tells of what has changed: there is no queue in between, and no second
// goroutine, which would cost as much as the reading.
type store[T runtime.Object] struct {
	trim    func(T)
	indexes map[string]func(T) []string
	told    []func(old, now T)
	synced  atomic.Bool

	mu      sync.RWMutex // guards what follows
	objects map[types.NamespacedName]T
	// found has for each index the objects by value. Those without objects are not there.
	found map[string]map[string]map[types.NamespacedName]T
}

func newStore[T runtime.Object](trim func(T), indexes map[string]func(T) []string) *store[T] {
	s := &store[T]{trim: trim, indexes: indexes, objects: make(map[types.NamespacedName]T)}
	s.found = make(map[string]map[string]map[types.NamespacedName]T, len(indexes))
	for name := range indexes {
		s.found[name] = make(map[string]map[types.NamespacedName]T)
	}
	return s
}

// Add stores an object that a watch shows.
func (s *store[T]) Add(obj any) error { return s.Update(obj) }

// Update stores an object that a watch shows.
func (s *store[T]) Update(obj any) error {
	now, key, err := typed[T](obj)
	if err != nil {
		return err
	}
	s.trim(now)
	s.mu.Lock()
	old := s.objects[key]
	s.put(key, now)
	s.mu.Unlock()
	s.tell(old, now)
	return nil
}

// Delete forgets an object. Nothing is told of one that was not there.
func (s *store[T]) Delete(obj any) error {
	_, key, err := typed[T](obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old, ok := s.objects[key]
	s.remove(key)
	s.mu.Unlock()
	if ok {
		var none T
		s.tell(old, none)
	}
	return nil
}

// Replace stores what there is instead of what was there; it has been trimmed. What has
// not changed in between is not told again.
func (s *store[T]) Replace(objs []any, _ string) error {
	type change struct{ old, now T }
	changes := make([]change, 0, len(objs))
	s.mu.Lock()
	if len(s.objects) == 0 {
		s.objects = make(map[types.NamespacedName]T, len(objs))
	}
	gone := maps.Clone(s.objects)
	for _, obj := range objs {
		now, key, err := typed[T](obj)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		old, known := s.objects[key]
		delete(gone, key)
		if known && sameVersion(old, now) {
			continue
		}
		s.put(key, now)
		changes = append(changes, change{old, now})
	}
	for key, old := range gone {
		s.remove(key)
		changes = append(changes, change{old: old})
	}
	s.mu.Unlock()
	for _, c := range changes {
		s.tell(c.old, c.now)
	}
	s.synced.Store(true)
	return nil
}

// Resync has no meaning here.
func (s *store[T]) Resync() error { return nil }

func (s *store[T]) tell(old, now T) {
	for _, f := range s.told {
		f(old, now)
	}
}

// typed returns what a reflector has given, and its key.
func typed[T runtime.Object](obj any) (t T, key types.NamespacedName, err error) {
	t, ok := obj.(T)
	if !ok {
		return t, key, fmt.Errorf("store a %T: want a %T", obj, t)
	}
	return t, keyOf(t), nil
}

// keyOf shares the strings of the object. newReader has seen that it is one.
func keyOf(obj runtime.Object) types.NamespacedName {
	o := obj.(object)
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func sameVersion(a, b runtime.Object) bool {
	x, y := a.(object), b.(object)
	return x.GetUID() == y.GetUID() && x.GetResourceVersion() == y.GetResourceVersion()
}

// put stores an object. The caller holds the lock.
func (s *store[T]) put(key types.NamespacedName, obj T) {
	s.remove(key) // the strings of the key are the object's: the old ones go with it
	s.objects[key] = obj
	for name, index := range s.indexes {
		for _, value := range index(obj) {
			under := s.found[name][value]
			if under == nil {
				under = make(map[types.NamespacedName]T)
				s.found[name][value] = under
			}
			under[key] = obj
		}
	}
}

// remove forgets an object, if it is there. The caller holds the lock.
func (s *store[T]) remove(key types.NamespacedName) {
	old, ok := s.objects[key]
	if !ok {
		return
	}
	delete(s.objects, key)
	for name, index := range s.indexes {
		for _, value := range index(old) {
			delete(s.found[name][value], key)
			if len(s.found[name][value]) == 0 {
				delete(s.found[name], value)
			}
		}
	}
}

func (s *store[T]) get(key types.NamespacedName) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	obj, ok := s.objects[key]
	return obj, ok
}

func (s *store[T]) list() []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return values(s.objects)
}

func (s *store[T]) byIndex(index, value string) []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return values(s.found[index][value])
}

func values[T any](m map[types.NamespacedName]T) []T {
	return slices.AppendSeq(make([]T, 0, len(m)), maps.Values(m))
}
