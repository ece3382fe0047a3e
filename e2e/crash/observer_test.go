// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// observer follows every state that a Service goes through, in the order in which
// the API server had them, and holds each against what must never happen. One
// goroutine uses it; ask it when watch has returned.
type observer struct {
	stable func(name string) bool
	// holders are the Services that have an address now.
	holders map[string]map[types.UID]*corev1.Service
	last    map[types.UID]*corev1.Service
	wrong   []string
	states  int
	given   int
}

func newObserver(stable func(string) bool) *observer {
	return &observer{
		stable:  stable,
		holders: map[string]map[types.UID]*corev1.Service{},
		last:    map[types.UID]*corev1.Service{},
	}
}

// watch follows the API server until ctx ends. A watch that breaks is an error: what
// happens in a gap cannot be judged.
func (o *observer) watch(ctx context.Context, api kubernetes.Interface) error {
	services := api.CoreV1().Services(metav1.NamespaceDefault)
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		o.observe(&list.Items[i])
	}
	w, err := services.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.ResultChan():
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("the watch of Services broke after %d states", o.states)
			}
			s, ok := event.Object.(*corev1.Service)
			switch {
			case !ok:
				return fmt.Errorf("the watch of Services broke: %v", event.Object)
			case event.Type == watch.Deleted:
				o.forget(s)
			default:
				o.observe(s)
			}
		}
	}
}

func (o *observer) observe(s *corev1.Service) {
	o.states++
	before := o.last[s.UID]
	o.last[s.UID] = s
	if before != nil {
		o.compare(before, s)
		o.vacate(before)
	}
	for _, ip := range addresses(s) {
		if before == nil || !slices.Contains(addresses(before), ip) {
			o.given++
		}
		if o.holders[ip] == nil {
			o.holders[ip] = map[types.UID]*corev1.Service{}
		}
		for _, other := range o.holders[ip] {
			if !mayShare(s, other) {
				o.violated("%s is in the status of %s and %s at once (resource version %s)", ip, s.Name, other.Name, s.ResourceVersion)
			}
		}
		o.holders[ip][s.UID] = s
	}
}

// compare holds a Service whose claim never changes against its last state.
func (o *observer) compare(before, now *corev1.Service) {
	had := addresses(before)
	if !o.stable(now.Name) || len(had) == 0 || slices.Equal(had, addresses(now)) {
		return
	}
	o.violated("%s had %v and now has %v (resource version %s)", now.Name, had, addresses(now), now.ResourceVersion)
}

func (o *observer) forget(s *corev1.Service) {
	if before := o.last[s.UID]; before != nil {
		o.vacate(before)
	}
	delete(o.last, s.UID)
}

func (o *observer) vacate(s *corev1.Service) {
	for _, ip := range addresses(s) {
		delete(o.holders[ip], s.UID)
	}
}

func (o *observer) violated(format string, args ...any) {
	o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
}

func (o *observer) violations() []string { return o.wrong }

func (o *observer) seen() int { return o.states }

func (o *observer) assignments() int { return o.given }

// mayShare reports whether two Services may have one address: under one key, with no
// port in common.
func mayShare(a, b *corev1.Service) bool {
	const key = "metallb.io/allow-shared-ip"
	if a.Annotations[key] == "" || a.Annotations[key] != b.Annotations[key] {
		return false
	}
	ports := map[int32]bool{}
	for _, p := range slices.Concat(a.Spec.Ports, b.Spec.Ports) {
		ports[p.Port] = true
	}
	return len(slices.Collect(maps.Keys(ports))) == len(a.Spec.Ports)+len(b.Spec.Ports)
}

func addresses(s *corev1.Service) []string {
	var ips []string
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		ips = append(ips, ingress.IP)
	}
	return ips
}
