// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/herald-lb/herald/internal/kube"
)

const (
	// freshPoll is the time between two looks at an informer that lags behind.
	freshPoll = 10 * time.Millisecond
	// freshList is the time between two lists while it does.
	freshList = time.Second
)

// lag is what an informer has to show yet to be as fresh as a list.
type lag map[types.NamespacedName]string // the resource version that it must reach

// catchUp returns once the informer shows everything that the API server had at some
// moment after the call. A replica that becomes the leader needs that: its
// predecessor's last writes may still be on their way to it.
func catchUp[T object](ctx context.Context, r kube.Resource[T], which kube.Watched[T], i *kube.Informer[T]) error {
	behind, err := behindList(ctx, r, which, i)
	if err != nil {
		return err
	}
	again := time.Now().Add(freshList)
	poll := time.NewTicker(freshPoll)
	defer poll.Stop()
	for {
		for name, version := range behind {
			if shows(i, name, version) {
				delete(behind, name)
			}
		}
		if len(behind) == 0 {
			return nil
		}
		if time.Now().After(again) {
			// What is in no list any more was deleted in between: the informer need not
			// show it, and never will if it has not been shown already.
			now, err := behindList(ctx, r, which, i)
			if err != nil {
				return err
			}
			for name := range behind {
				if _, still := now[name]; !still {
					delete(behind, name)
				}
			}
			again = time.Now().Add(freshList)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
}

// behindList returns in which objects the informer is behind a list made now.
func behindList[T object](ctx context.Context, r kube.Resource[T], which kube.Watched[T], i *kube.Informer[T]) (lag, error) {
	behind := lag{}
	listed := map[types.NamespacedName]struct{}{}
	version, err := r.Each(ctx, which, func(obj T) {
		name := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
		listed[name] = struct{}{}
		if !shows(i, name, obj.GetResourceVersion()) {
			behind[name] = obj.GetResourceVersion()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("see what is new: %w", err)
	}
	for _, obj := range i.List() {
		name := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
		if _, ok := listed[name]; !ok && !newer(obj.GetResourceVersion(), version) {
			behind[name] = gone
		}
	}
	return behind, nil
}

// gone is the version of what is to disappear.
const gone = ""

// shows reports whether the informer has the object in that version or a later one.
func shows[T object](i *kube.Informer[T], name types.NamespacedName, version string) bool {
	obj, ok := i.Get(name.Namespace, name.Name)
	if version == gone {
		return !ok
	}
	return ok && !newer(version, obj.GetResourceVersion())
}

// newer reports whether version a is later than b. What is no number cannot be
// compared, and counts as equal.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}
