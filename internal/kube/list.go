// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// pageSize is how many objects Each reads at once, which bounds its memory.
const pageSize = 500

// Each calls f for every object that an Informer of w would have, as the API server has
// them at one moment after the call, and returns the resource version of that moment.
// f must not keep the object.
func (r Resource[T]) Each(ctx context.Context, w Watched[T], f func(T)) (resourceVersion string, err error) {
	for next := ""; ; {
		list, err := r.client.Get().NamespaceIfScoped(w.Namespace, w.Namespace != "").Resource(r.name).
			Param("labelSelector", w.LabelSelector).Param("fieldSelector", w.FieldSelector).
			Param("limit", strconv.Itoa(pageSize)).Param("continue", next).Do(ctx).Get()
		if err != nil {
			return "", fmt.Errorf("list %s: %w", r.name, err)
		}
		err = meta.EachListItem(list, func(obj runtime.Object) error {
			t, ok := obj.(T)
			if !ok {
				return fmt.Errorf("list %s: found a %T", r.name, obj)
			}
			f(t)
			return nil
		})
		if err != nil {
			return "", err
		}
		page, err := meta.ListAccessor(list)
		if err != nil {
			return "", fmt.Errorf("list %s: %w", r.name, err)
		}
		if next = page.GetContinue(); next == "" {
			return page.GetResourceVersion(), nil
		}
	}
}
