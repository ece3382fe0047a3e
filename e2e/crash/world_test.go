// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/lab"
)

const namespace = "metallb-system"

// The pools. The steady one is never edited, so whoever has an address of it and
// never changes its claim must keep it. The elastic one is widened and shrunk. The
// pinned one serves Services by a label that comes and goes.
const (
	steadyRange  = "10.1.0.0-10.1.3.255"
	elasticRange = "10.2.0.0-10.2.%d.255"
	pinnedRange  = "10.3.0.0/24"
)

const pools = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: steady, namespace: metallb-system}
spec: {addresses: [` + steadyRange + `]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pinned, namespace: metallb-system}
spec:
  addresses: [` + pinnedRange + `]
  serviceAllocation: {priority: 1, serviceSelectors: [{matchLabels: {tier: gold}}]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: elastic, namespace: metallb-system}
spec: {addresses: [10.2.0.0-10.2.3.255], autoAssign: false}
`

const (
	stableServices   = 60
	volatileServices = 60
	// changeEvery is how often something is changed.
	changeEvery = 15 * time.Millisecond
)

// world is the cluster and what is done to it.
type world struct {
	lab     *lab.Lab
	api     kubernetes.Interface
	random  *rand.Rand
	changes atomic.Int64
	// created counts names, which are never used twice except on purpose.
	created int
	live    []string
}

func newWorld(t *testing.T, l *lab.Lab, random *rand.Rand) *world {
	t.Helper()
	config := rest.CopyConfig(l.RESTConfig())
	config.QPS = -1
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &world{lab: l, api: api, random: random}
}

// stable reports whether a Service's claim never changes and is always valid.
func (w *world) stable(name string) bool { return len(name) > 6 && name[:6] == "stable" }

func (w *world) populate(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := w.api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", "../../config/crd"},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"},
	} {
		if out, err := w.lab.Kubectl(ctx, args...); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
	if err := w.lab.Apply(ctx, pools); err != nil {
		t.Fatal(err)
	}
	for n := range stableServices {
		if err := w.create(ctx, fmt.Sprintf("stable-%d", n), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range volatileServices {
		if err := w.add(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// churn changes something again and again until ctx ends.
func (w *world) churn(ctx context.Context) error {
	// What is changed is drawn from a source of its own: the other belongs to the
	// goroutine that kills.
	random := rand.New(rand.NewPCG(*seed, 1))
	tick := time.NewTicker(changeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.change(ctx, random); err != nil && ctx.Err() == nil {
			return err
		}
		w.changes.Add(1)
	}
}

// change does one thing a user might do.
func (w *world) change(ctx context.Context, random *rand.Rand) error {
	victim := random.IntN(len(w.live))
	switch random.IntN(8) {
	case 0, 1:
		return w.add(ctx)
	case 2:
		return w.delete(ctx, victim)
	case 3: // deleted, and created again under its name at once
		name := w.live[victim]
		return errors.Join(w.delete(ctx, victim), w.create(ctx, name, nil, nil), w.enlist(name))
	case 4:
		return w.patch(ctx, w.live[victim], map[string]any{"metadata": map[string]any{"labels": map[string]any{"tier": pick(random, "gold", "tin")}}})
	case 5:
		kind := pick(random, corev1.ServiceTypeClusterIP, corev1.ServiceTypeLoadBalancer)
		return w.patch(ctx, w.live[victim], map[string]any{"spec": map[string]any{"type": kind}})
	case 6:
		var pool any
		if random.IntN(2) == 0 {
			pool = "elastic"
		}
		return w.patch(ctx, w.live[victim], map[string]any{"metadata": map[string]any{"annotations": map[string]any{"metallb.io/address-pool": pool}}})
	}
	return w.stretch(ctx, random.IntN(4))
}

// stretch gives the elastic pool another size: 256 addresses and up to 1024.
func (w *world) stretch(ctx context.Context, size int) error {
	body := fmt.Appendf(nil, `{"spec":{"addresses":[%q]}}`, fmt.Sprintf(elasticRange, size))
	return w.api.CoreV1().RESTClient().Patch(types.MergePatchType).
		AbsPath("/apis/metallb.io/v1beta1/namespaces", namespace, "ipaddresspools", "elastic").
		Body(body).Do(ctx).Error()
}

// add makes one more Service, of one of several kinds.
func (w *world) add(ctx context.Context) error {
	w.created++
	name := fmt.Sprintf("volatile-%d", w.created)
	annotations := map[string]string{}
	switch w.created % 3 {
	case 1:
		annotations["metallb.io/address-pool"] = "elastic"
	case 2:
		annotations["metallb.io/allow-shared-ip"] = fmt.Sprintf("key-%d", w.created%5)
	}
	return errors.Join(w.create(ctx, name, annotations, map[string]string{"tier": "tin"}), w.enlist(name))
}

func (w *world) enlist(name string) error {
	w.live = append(w.live, name)
	return nil
}

func (w *world) create(ctx context.Context, name string, annotations, labels map[string]string) error {
	port := int32(1000 + w.created%5000)
	_, err := w.api.CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations, Labels: labels},
		Spec: corev1.ServiceSpec{
			Type:  corev1.ServiceTypeLoadBalancer,
			Ports: []corev1.ServicePort{{Port: port}},

			AllocateLoadBalancerNodePorts: new(bool),
		},
	}, metav1.CreateOptions{})
	return err
}

func (w *world) delete(ctx context.Context, index int) error {
	name := w.live[index]
	w.live = append(w.live[:index], w.live[index+1:]...)
	return w.api.CoreV1().Services(metav1.NamespaceDefault).Delete(ctx, name, metav1.DeleteOptions{})
}

func (w *world) patch(ctx context.Context, name string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = w.api.CoreV1().Services(metav1.NamespaceDefault).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// awaitSettled returns when every Service that asks for an address has one that it
// may have, and says which has not when that takes too long.
func (w *world) awaitSettled(ctx context.Context, limit time.Duration) error {
	// All Services fit into the elastic pool at its largest.
	if err := w.stretch(ctx, 3); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		unsettled, err := w.unsettled(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if unsettled == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in order after %s: %w", limit, unsettled)
		case <-tick.C:
		}
	}
}

// unsettled returns what is wrong with the Services as they are now.
func (w *world) unsettled(ctx context.Context) (wrong, err error) {
	list, err := w.api.CoreV1().Services(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []error
	for i := range list.Items {
		s := &list.Items[i]
		addresses := s.Status.LoadBalancer.Ingress
		switch wants := s.Spec.Type == corev1.ServiceTypeLoadBalancer; {
		case wants && len(addresses) != 1:
			all = append(all, fmt.Errorf("%s has %d addresses: %v", s.Name, len(addresses), s.Status.Conditions))
		case !wants && len(addresses) != 0:
			all = append(all, fmt.Errorf("%s asks for no address and has %s", s.Name, addresses[0].IP))
		case wants:
			all = append(all, misplaced(s))
		}
	}
	return errors.Join(all...), nil
}

// misplaced returns why the address of s is not one that s may have.
func misplaced(s *corev1.Service) error {
	ip, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	pool := ip.As4()[1]
	switch {
	// Who asks for it no more may stay: the pool still admits it.
	case s.Annotations["metallb.io/address-pool"] == "elastic" && pool != 2:
		return fmt.Errorf("%s has %s and asks for the elastic pool", s.Name, ip)
	case pool == 3 && s.Labels["tier"] != "gold":
		return fmt.Errorf("%s has %s of the pinned pool, which is for gold", s.Name, ip)
	}
	return nil
}
