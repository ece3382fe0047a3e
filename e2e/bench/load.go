// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// writers is how many requests the bare loop keeps outstanding: as many as the
// controller has, so that both meet the same API server.
const writers = 16

// creators is how many requests are outstanding while Services are made.
const creators = 8

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

// fleet is a number of Services of type LoadBalancer that are alike. They have no
// selector: their endpoints are made by hand.
type fleet struct {
	namespace string
	size      int
	// class is the loadBalancerClass. Empty: none, which makes them Herald's.
	class string
	// dual asks for an address of each IP family.
	dual bool
}

// service returns the i-th Service.
func (f fleet) service(i int) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName(i), Labels: map[string]string{"app": serviceName(i)}},
		Spec: corev1.ServiceSpec{
			Type:  corev1.ServiceTypeLoadBalancer,
			Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
			// A cluster has 2768 node ports by default; Herald does not need them.
			AllocateLoadBalancerNodePorts: new(bool),
		},
	}
	if f.class != "" {
		s.Spec.LoadBalancerClass = &f.class
	}
	if f.dual {
		policy := corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilyPolicy = &policy
	}
	return s
}

// create makes the Services, and their namespace if need be.
func (f fleet) create(ctx context.Context, api kubernetes.Interface) error {
	if err := createNamespace(ctx, api, f.namespace); err != nil {
		return err
	}
	return spread(ctx, creators, f.size, func(ctx context.Context, i int) error {
		_, err := api.CoreV1().Services(f.namespace).Create(ctx, f.service(i), metav1.CreateOptions{})
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

// patchStatuses is the bare loop: it gives each Service of f its addresses with one
// status patch, like the controller's. A later round gives others.
func patchStatuses(ctx context.Context, api kubernetes.Interface, f fleet, round int) error {
	return spread(ctx, writers, f.size, func(ctx context.Context, i int) error {
		return patchStatus(ctx, api, f, i, round)
	})
}

// patchStatus gives the i-th Service of f the addresses of a round.
func patchStatus(ctx context.Context, api kubernetes.Interface, f fleet, i, round int) error {
	v4 := bareAddress(i, round)
	v6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 13: byte(round), 14: byte(i >> 8), 15: byte(i)})
	ingress := fmt.Sprintf(`{"ip":%q}`, v4)
	if f.dual {
		ingress += fmt.Sprintf(`,{"ip":%q}`, v6)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	body := fmt.Appendf(nil, `{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"bench"}},`+
		`"status":{"loadBalancer":{"ingress":[%s]},"conditions":[{"type":"bench.example/Bare","status":"True",`+
		`"reason":"Allocated","message":"","lastTransitionTime":%q}]}}`, ingress, now)
	_, err := api.CoreV1().Services(f.namespace).Patch(ctx, serviceName(i), types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

// bareAddress returns the IPv4 address that a round of the bare loop gives.
func bareAddress(i, round int) string { return fmt.Sprintf("10.%d.%d.%d", round, i>>8, i&0xff) }

// listServices reads all Services of namespace once.
func listServices(ctx context.Context, api kubernetes.Interface, namespace string) error {
	_, err := api.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	return err
}
