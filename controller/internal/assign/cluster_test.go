// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// cluster is an API server with its watch, in memory. It knows Services, Namespaces
// and pools. What the informers show lags behind by up to lag, in order.
type cluster struct {
	t *testing.T

	mu       sync.Mutex
	services map[lb.ServiceName]*corev1.Service
	// shown is what the informers have.
	shown      map[lb.ServiceName]*corev1.Service
	namespaces map[string]labels.Set
	pools      []*v1beta1.IPAddressPool
	reserve    reservationStore
	notices    []notice
	tell       func(key)
	clock      int64 // of creation, in seconds
	uids       int
	seq, due   int // of notices; what a catch-up waits for
	patches    int
	events     []kube.Event
	// check is called with the cluster locked ahead of every write to a Service.
	check func(before, after *corev1.Service)

	// unreachable has every write refused.
	unreachable bool
	// unadvertised leaves out the one advertisement there is, incomplete is a
	// configuration of which more is to come.
	unadvertised, incomplete bool
	// stale is why the informers cannot catch up.
	stale error
	// chance, if set, makes writes slow and fail.
	chance *rand.Rand
	bell   chan struct{}
}

type notice struct {
	name lb.ServiceName
	now  *corev1.Service // nil: gone
	seq  int
	// show, if set, is what the notice does instead: name is then for whom.
	show func()
}

func newCluster(t *testing.T) *cluster {
	return &cluster{
		t:          t,
		services:   map[lb.ServiceName]*corev1.Service{},
		shown:      map[lb.ServiceName]*corev1.Service{},
		namespaces: map[string]labels.Set{"shop": nil},
		reserve:    newReservationStore(),
		bell:       make(chan struct{}, 1),
	}
}

// change performs f and has the informers show it.
func (c *cluster) change(name lb.ServiceName, f func(*corev1.Service) *corev1.Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changeLocked(name, f)
}

func (c *cluster) changeLocked(name lb.ServiceName, f func(*corev1.Service) *corev1.Service) {
	old := c.services[name]
	var now *corev1.Service
	if old != nil {
		now = f(old.DeepCopy())
	} else {
		now = f(nil)
	}
	if now == nil {
		delete(c.services, name)
	} else {
		c.services[name] = now
	}
	visible := now
	if now != nil && now.Spec.Type != corev1.ServiceTypeLoadBalancer {
		visible = nil // the informer's field selector
	}
	c.seq++
	c.notices = append(c.notices, notice{name: name, now: visible, seq: c.seq})
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// watch delivers notices until ctx ends.
func (c *cluster) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.bell:
		}
		for c.deliver(ctx) {
		}
	}
}

func (c *cluster) deliver(ctx context.Context) bool {
	c.pause(ctx, 20)
	c.mu.Lock()
	if len(c.notices) == 0 {
		c.mu.Unlock()
		return false
	}
	n := c.notices[0]
	c.notices = c.notices[1:]
	switch {
	case n.show != nil:
		n.show()
	case n.now == nil:
		delete(c.shown, n.name)
	default:
		c.shown[n.name] = n.now
	}
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		tell(key(n.name))
	}
	return true
}

// pause takes up to most milliseconds, if anything is left to chance.
func (c *cluster) pause(ctx context.Context, most int) {
	c.mu.Lock()
	var d time.Duration
	if c.chance != nil {
		d = time.Duration(c.chance.IntN(most)) * time.Millisecond
	}
	c.mu.Unlock()
	if d > 0 {
		wait(ctx, d)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// PatchStatus implements statusPatcher for Services as the API server does.
func (c *cluster) PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	c.pause(ctx, 50)
	before, after := c.fate(), c.fate()
	c.mu.Lock()
	before = before || c.unreachable
	c.mu.Unlock()
	if before {
		return errors.New("connection refused")
	}
	if err := c.apply(lb.ServiceName{Namespace: namespace, Name: name}, kind, body); err != nil {
		return err
	}
	c.pause(ctx, 50)
	if after {
		return errors.New("connection reset")
	}
	return ctx.Err()
}

// fate decides whether something goes wrong.
func (c *cluster) fate() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chance != nil && c.chance.IntN(10) == 0
}

func (c *cluster) apply(name lb.ServiceName, kind types.PatchType, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patches++
	resource := schema.GroupResource{Resource: "services"}
	s, ok := c.services[name]
	if !ok {
		return apierrors.NewNotFound(resource, name.String())
	}
	if kind != types.StrategicMergePatchType {
		c.t.Errorf("patch of type %s", kind)
	}
	original, _ := json.Marshal(s)
	patched, err := strategicpatch.StrategicMergePatch(original, body, corev1.Service{})
	if err != nil {
		c.t.Errorf("patch %s: %v", body, err)
		return apierrors.NewBadRequest(err.Error())
	}
	after := &corev1.Service{}
	if err := json.Unmarshal(patched, after); err != nil {
		c.t.Errorf("unmarshal %s: %v", patched, err)
	}
	if after.UID != s.UID {
		return apierrors.NewConflict(resource, name.String(), errors.New("precondition failed: UID"))
	}
	if len(after.Status.LoadBalancer.Ingress) > 0 && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", resource, name.String(), "not a load balancer", 0, true)
	}
	after.Spec = s.Spec
	if c.check != nil {
		c.check(s, after)
	}
	c.changeLocked(name, func(*corev1.Service) *corev1.Service { return after })
	return nil
}

// Write implements eventSink.
func (c *cluster) Write(e kube.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

// The objects interface: what the informers show.

func (c *cluster) service(name lb.ServiceName) (*corev1.Service, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.shown[name]
	return s, ok
}

func (c *cluster) list(wanted func(*corev1.Service) bool) []*corev1.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*corev1.Service
	for _, s := range c.shown {
		if wanted(s) {
			all = append(all, s)
		}
	}
	return all
}

func (c *cluster) servicesIn(namespace string) []*corev1.Service {
	return c.list(func(s *corev1.Service) bool { return s.Namespace == namespace })
}

func (c *cluster) namespaceLabels(name string) labels.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.namespaces[name]
}

func (c *cluster) config() (lb.Objects, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	everything := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "everything"}}
	objects := lb.Objects{Pools: slices.Clone(c.pools)}
	if !c.unadvertised {
		objects.L2Advertisements = append(objects.L2Advertisements, everything)
	}
	return objects, !c.incomplete
}

func (c *cluster) nodes() []lb.Node { return nil }

// catchUp waits until what there is now has been shown.
func (c *cluster) catchUp(ctx context.Context) error {
	c.mu.Lock()
	c.due = c.seq
	stale := c.stale
	c.mu.Unlock()
	if stale != nil {
		return stale
	}
	for ctx.Err() == nil {
		c.mu.Lock()
		fresh := len(c.notices) == 0 || c.notices[0].seq > c.due
		c.mu.Unlock()
		if fresh {
			return nil
		}
		wait(ctx, time.Millisecond)
	}
	return ctx.Err()
}

// informers is a view of the cluster, because both have a services.
type shownObjects struct{ *cluster }

func (s shownObjects) services() []*corev1.Service {
	return s.list(func(*corev1.Service) bool { return true })
}

// What users do.

// create makes a Service of type LoadBalancer.
func (c *cluster) create(name string, edits ...func(*corev1.Service)) lb.ServiceName {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	c.uids++
	full := lb.ServiceName{Namespace: "shop", Name: name}
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: full.Namespace, Name: name,
			UID:               types.UID(name + "-" + time.Duration(c.uids).String()),
			CreationTimestamp: metav1.Unix(c.clock, 0),
		},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeLoadBalancer,
			ClusterIPs: []string{"10.96.0.1"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports:      []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, edit := range edits {
		edit(s)
	}
	c.changeLocked(full, func(*corev1.Service) *corev1.Service { return s })
	return full
}

func (c *cluster) edit(name lb.ServiceName, edit func(*corev1.Service)) {
	c.change(name, func(s *corev1.Service) *corev1.Service {
		if s != nil {
			edit(s)
		}
		return s
	})
}

func (c *cluster) remove(name lb.ServiceName) {
	c.change(name, func(*corev1.Service) *corev1.Service { return nil })
}

// setPools replaces all pools by one for each name and range.
func (c *cluster) setPools(ranges map[string]string, edits ...func(*v1beta1.IPAddressPool)) {
	c.mu.Lock()
	c.pools = nil
	for name, addresses := range ranges {
		p := &v1beta1.IPAddressPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name, UID: types.UID(name), CreationTimestamp: metav1.Unix(1, 0)},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: []string{addresses}},
		}
		for _, edit := range edits {
			edit(p)
		}
		c.pools = append(c.pools, p)
	}
	slices.SortFunc(c.pools, func(a, b *v1beta1.IPAddressPool) int { return cmp.Compare(a.Name, b.Name) })
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		tell(key{})
	}
}

// advertise adds or removes the one advertisement, now that all else is known.
func (c *cluster) advertise(advertised bool) {
	c.mu.Lock()
	c.unadvertised, c.incomplete = !advertised, false
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		tell(key{})
	}
}

// away makes writes fail, or not any more.
func (c *cluster) away(unreachable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unreachable = unreachable
}

func (c *cluster) label(namespace string, ls labels.Set) {
	c.mu.Lock()
	c.namespaces[namespace] = ls
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		tell(key{Namespace: namespace})
	}
}

// What users see.

func (c *cluster) addresses(name lb.ServiceName) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.services[name]; ok {
		return join(ingress(s))
	}
	return "no Service"
}

func (c *cluster) get(name lb.ServiceName) *corev1.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.services[name].DeepCopy()
}

// condition returns status/reason of ConditionAllocated.
func (c *cluster) condition(name lb.ServiceName) string {
	svc, _ := lb.ParseService(c.get(name))
	cond := observe(c.get(name), &svc).condition
	return string(cond.status) + "/" + cond.reason
}

// said returns the reasons of the Events about a Service, in order.
func (c *cluster) said(name lb.ServiceName) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var reasons []string
	for _, e := range c.events {
		if e.Service == name {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

func ingress(s *corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		addrs = append(addrs, netip.MustParseAddr(in.IP))
	}
	return addrs
}

// term is a controller's term of leadership, on a cluster.
type term struct {
	cluster *cluster
	decider *decider
	outbox  *outbox
	pools   *poolPatcher
	// registry has the metrics of the term.
	registry *prometheus.Registry
	stop     func()
}

// lead starts a term. Its stop ends it as a crash does: nothing is finished.
func (c *cluster) lead(ctx context.Context, class string) *term {
	log := slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		c.t.Fatal(err)
	}
	out := newOutbox(c, c, m, log)
	pools := &poolPatcher{bodies: map[string][]string{}}
	rep := newReporter(map[string]statusPatcher{kindPool: pools, kindL2Advertisement: &poolPatcher{bodies: map[string][]string{}}}, m, log)
	controller := Controller{config: Config{Class: class}}
	register := newRegistrar(archived{c}, func() bool { return true }, m, log)
	d := newDecider(shownObjects{c}, controller.owns, out, rep, register.file, log)
	c.mu.Lock()
	c.tell = func(k key) { d.queue.Add(k) }
	c.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	for _, run := range []func(context.Context) error{d.run, d.sweep, out.run, rep.run, register.run} {
		group.Go(func() error { return run(ctx) })
	}
	m.beginTerm(out, func() uint64 { return 0 })
	return &term{c, d, out, pools, registry, func() {
		cancel()
		if err := group.Wait(); err != nil {
			c.t.Error(err)
		}
		c.mu.Lock()
		c.tell = nil
		c.mu.Unlock()
	}}
}
