// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// listBuffer is how much of a list is taken from the connection at once, in bytes.
const listBuffer = 64 << 10

// reader reads the objects of an informer: all of them once, and then what changes
// (ADR 0027).
type reader[T runtime.Object] struct {
	resource Resource[T]
	watched  Watched[T]
	trim     func(T)
	// lists are those under way, which a reflector does not wait for.
	lists sync.WaitGroup
}

// newReader returns what reads objects for an Informer or a Follower.
func newReader[T runtime.Object](r Resource[T], w Watched[T]) (*reader[T], error) {
	if _, ok := any(r.empty()).(object); !ok {
		return nil, fmt.Errorf("follow %s: %T has no metadata", r.name, r.empty())
	}
	trim := func(obj T) {
		trimMeta(obj)
		if w.Trim != nil {
			w.Trim(obj)
		}
	}
	return &reader[T]{resource: r, watched: w, trim: trim}, nil
}

// follow has a reflector fill a store until ctx ends.
func (r *reader[T]) follow(ctx context.Context, into cache.ReflectorStore) error {
	options := cache.ReflectorOptions{Name: r.resource.name}
	cache.NewReflectorWithOptions(r, r.resource.empty(), into, options).RunWithContext(ctx)
	r.lists.Wait()
	return nil
}

// IsWatchListSemanticsUnSupported has reflectors list first.
func (*reader[T]) IsWatchListSemanticsUnSupported() bool { return true }

// List is there for the interface that reflectors are given.
func (r *reader[T]) List(options metav1.ListOptions) (runtime.Object, error) {
	return r.ListWithContext(context.Background(), options)
}

// Watch is there for the interface that reflectors are given.
func (r *reader[T]) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return r.WatchWithContext(context.Background(), options)
}

// ListWithContext returns all objects, trimmed. Each is trimmed as soon as it has been
// read, so that the rest of it does not outlive the next.
//
// The list is consistent: a reflector would take anything for the beginning, and a
// speaker that starts with what was true a while ago takes routes back. It is not cut
// into pages, which some API servers would have to ask etcd for.
func (r *reader[T]) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	r.lists.Add(1)
	defer r.lists.Done()
	options.Limit = 0
	if options.ResourceVersion == "0" {
		options.ResourceVersion = ""
	}
	list, err := r.list(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", r.resource.name, err)
	}
	return list, nil
}

// WatchWithContext returns what changes from now on.
func (r *reader[T]) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.request(options).Watch(ctx)
}

func (r *reader[T]) request(options metav1.ListOptions) *rest.Request {
	options.LabelSelector, options.FieldSelector = r.watched.LabelSelector, r.watched.FieldSelector
	return r.resource.client.Get().NamespaceIfScoped(r.watched.Namespace, r.watched.Namespace != "").
		Resource(r.resource.name).VersionedParams(&options, metav1.ParameterCodec)
}

func (r *reader[T]) list(ctx context.Context, options metav1.ListOptions) (*internalversion.List, error) {
	body, err := r.request(options).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	list := new(internalversion.List)
	take := func(obj T) {
		r.trim(obj)
		list.Items = append(list.Items, obj)
	}
	in := bufio.NewReaderSize(body, listBuffer)
	if isProtobuf(in) {
		list.ListMeta, err = readProtobuf(in, r.resource.empty, take)
	} else {
		list.ListMeta, err = readWhole(in, r.resource.client.decoder, take)
	}
	return list, err
}

// readWhole reads a list in another encoding.
func readWhole[T runtime.Object](in io.Reader, decoder runtime.Decoder, take func(T)) (metav1.ListMeta, error) {
	var none metav1.ListMeta
	body, err := io.ReadAll(in)
	if err != nil {
		return none, err
	}
	list, err := runtime.Decode(decoder, body)
	if err != nil {
		return none, err
	}
	of, err := meta.ListAccessor(list)
	if err != nil {
		return none, err
	}
	err = meta.EachListItemWithAlloc(list, func(obj runtime.Object) error {
		t, ok := obj.(T)
		if !ok {
			return fmt.Errorf("found a %T", obj)
		}
		take(t)
		return nil
	})
	return metav1.ListMeta{ResourceVersion: of.GetResourceVersion(), Continue: of.GetContinue()}, err
}
