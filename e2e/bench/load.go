// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// writers is how many requests the bare loop keeps outstanding: as many as the
// controller has, so that both meet the same API server.
const writers = 16

// spread calls f for 0..n-1 from a fixed number of goroutines.
func spread(ctx context.Context, workers, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range workers {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := f(ctx, i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

func serviceName(i int) string { return fmt.Sprintf("service-%05d", i) }

// createServices makes n Services of type LoadBalancer in namespace, which
// is made if need be. They have no selector: their endpoints are made by hand. An
// empty class is none.
func createServices(ctx context.Context, api kubernetes.Interface, namespace, class string, n int) error {
	if err := createNamespace(ctx, api, namespace); err != nil {
		return err
	}
	var loadBalancerClass *string
	if class != "" {
		loadBalancerClass = &class
	}
	return spread(ctx, 8, n, func(ctx context.Context, i int) error {
		_, err := api.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: serviceName(i), Labels: map[string]string{"app": serviceName(i)}},
			Spec: corev1.ServiceSpec{
				Type:              corev1.ServiceTypeLoadBalancer,
				LoadBalancerClass: loadBalancerClass,
				Ports:             []corev1.ServicePort{{Name: "http", Port: 80}},
				// A cluster has 2768 node ports by default; Herald does not need them.
				AllocateLoadBalancerNodePorts: new(bool),
			},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

func createNamespace(ctx context.Context, api kubernetes.Interface, name string) error {
	_, err := api.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// createSlices gives each of n Services in namespace one EndpointSlice of three
// ready endpoints on the node.
func createSlices(ctx context.Context, api kubernetes.Interface, namespace, node string, n int) error {
	ready := true
	return spread(ctx, 8, n, func(ctx context.Context, i int) error {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Name:   serviceName(i) + "-bench",
				Labels: map[string]string{discoveryv1.LabelServiceName: serviceName(i), discoveryv1.LabelManagedBy: "bench"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for e := range 3 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses:  []string{fmt.Sprintf("10.244.%d.%d", i/80, 1+i%80*3+e)},
				Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
				NodeName:   &node,
			})
		}
		_, err := api.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// patchStatuses is the bare loop: it gives n Services of namespace an address with
// one status patch each, like the controller's.
func patchStatuses(ctx context.Context, api kubernetes.Interface, namespace string, n int) error {
	return spread(ctx, writers, n, func(ctx context.Context, i int) error {
		body := fmt.Appendf(nil, `{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"bench"}},`+
			`"status":{"loadBalancer":{"ingress":[{"ip":"10.201.%d.%d","ipMode":"VIP"}]}}}`, i/250, 1+i%250)
		_, err := api.CoreV1().Services(namespace).Patch(ctx, serviceName(i), types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
		return err
	})
}

// listServices reads all Services of namespace once.
func listServices(ctx context.Context, api kubernetes.Interface, namespace string) error {
	_, err := api.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	return err
}

// awaitAssigned returns when n Services of namespace have an address. It watches, so
// that it costs the API server one stream, and must be started before the controller.
func awaitAssigned(ctx context.Context, api kubernetes.Interface, namespace string, n int) error {
	list, err := api.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	assigned := make(map[string]bool, n)
	note := func(s *corev1.Service) { assigned[s.Name] = len(s.Status.LoadBalancer.Ingress) > 0 }
	for i := range list.Items {
		note(&list.Items[i])
	}
	w, err := api.CoreV1().Services(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	defer w.Stop()
	left := 0
	for _, ok := range assigned {
		if !ok {
			left++
		}
	}
	for left > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d Services have no address: %w", left, n, ctx.Err())
		case event, ok := <-w.ResultChan():
			if !ok {
				return fmt.Errorf("watch of services ended with %d of %d without an address", left, n)
			}
			service, ok := event.Object.(*corev1.Service)
			if !ok || event.Type == watch.Deleted {
				continue
			}
			before := assigned[service.Name]
			if note(service); assigned[service.Name] && !before {
				left--
			}
		}
	}
	return nil
}
