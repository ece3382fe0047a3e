// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// assigned reports whether a Service has an address.
func assigned(s *corev1.Service) bool { return len(s.Status.LoadBalancer.Ingress) > 0 }

// await returns when all Services of a fleet are as they should be. It watches, so
// that it costs the API server one stream.
func (f fleet) await(ctx context.Context, api kubernetes.Interface, ready func(*corev1.Service) bool) error {
	list, err := api.CoreV1().Services(f.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	if len(list.Items) != f.size {
		return fmt.Errorf("list services in %s: want %d, have %d", f.namespace, f.size, len(list.Items))
	}
	waiting := make(map[string]struct{}, len(list.Items))
	for i := range list.Items {
		if s := &list.Items[i]; !ready(s) {
			waiting[s.Name] = struct{}{}
		}
	}
	w, err := api.CoreV1().Services(f.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	defer w.Stop()
	for len(waiting) > 0 {
		s, err := nextService(ctx, w)
		if err != nil {
			return fmt.Errorf("wait for %d of %d services in %s: %w", len(waiting), f.size, f.namespace, err)
		}
		if ready(s) {
			delete(waiting, s.Name)
		}
	}
	return nil
}

// nextService returns the next Service that a watch shows, in whatever state.
func nextService(ctx context.Context, w watch.Interface) (*corev1.Service, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case event, ok := <-w.ResultChan():
			if !ok {
				return nil, fmt.Errorf("the watch of services has ended")
			}
			if s, ok := event.Object.(*corev1.Service); ok && event.Type != watch.Deleted {
				return s, nil
			}
		}
	}
}
