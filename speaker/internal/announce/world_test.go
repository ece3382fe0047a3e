// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMembers are members that change when the test says so.
type fakeMembers struct {
	changed, settled chan struct{}

	mu    sync.Mutex // guards what follows
	alive map[lb.NodeName]struct{}
	peers map[lb.NodeName][]netip.Addr
}

func newFakeMembers(alive ...lb.NodeName) *fakeMembers {
	m := &fakeMembers{changed: make(chan struct{}, 1), settled: make(chan struct{})}
	m.set(alive...)
	return m
}

func (m *fakeMembers) set(alive ...lb.NodeName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive = make(map[lb.NodeName]struct{})
	for _, n := range alive {
		m.alive[n] = struct{}{}
	}
	ring(m.changed)
}

func (m *fakeMembers) SetPeers(nodes map[lb.NodeName][]netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peers = nodes
}

func (m *fakeMembers) peerCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.peers)
}

func (m *fakeMembers) Alive() map[lb.NodeName]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.alive)
}

func (m *fakeMembers) Changed() <-chan struct{} { return m.changed }
func (m *fakeMembers) Settled() <-chan struct{} { return m.settled }

// fakeLinks are interfaces that change when the test says so.
type fakeLinks struct {
	changed, ready chan struct{}

	mu       sync.Mutex // guards snapshot
	snapshot []link.Interface
}

func newFakeLinks(names ...string) *fakeLinks {
	l := &fakeLinks{changed: make(chan struct{}, 1), ready: make(chan struct{})}
	l.set(names...)
	return l
}

func (l *fakeLinks) set(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot = nil
	for i, name := range names {
		l.snapshot = append(l.snapshot, link.Interface{Index: i + 1, Name: name, MAC: [6]byte{2, byte(i)}, Up: true, ARP: true})
	}
	ring(l.changed)
}

func (l *fakeLinks) Snapshot() []link.Interface {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot
}

func (l *fakeLinks) Changed() <-chan struct{} { return l.changed }
func (l *fakeLinks) Ready() <-chan struct{}   { return l.ready }

// fakeLayer2 remembers what it was told.
type fakeLayer2 struct {
	mu         sync.Mutex // guards what follows
	announced  map[netip.Addr][]string
	interfaces []string
	up         []string // of the interfaces
	calls      int
	renewed    time.Time
}

func (f *fakeLayer2) Announce(a layer2.Announcement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	f.announced[a.Address] = a.Interfaces
	return nil
}

func (f *fakeLayer2) Withdraw(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	delete(f.announced, a)
}

func (f *fakeLayer2) Follow(interfaces []layer2.Interface) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interfaces, f.up = nil, nil
	for _, i := range interfaces {
		f.interfaces = append(f.interfaces, i.Name)
		if i.Up && !i.Held {
			f.up = append(f.up, i.Name)
		}
	}
}

func (f *fakeLayer2) Renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = time.Now()
}

func (f *fakeLayer2) addresses() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var as []string
	for a, interfaces := range f.announced {
		s := a.String()
		if interfaces != nil {
			s += " on " + strings.Join(interfaces, ",")
		}
		as = append(as, s)
	}
	slices.Sort(as)
	return as
}

func (f *fakeLayer2) followed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.interfaces
}

func (f *fakeLayer2) callCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// fakeEvents keeps Events.
type fakeEvents struct {
	mu     sync.Mutex // guards what follows
	events []string
	said   string // the last message
}

func (f *fakeEvents) Write(e kube.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, fmt.Sprintf("%s %s %s", e.Service, e.Reason, e.UID))
	f.said = e.Message
}

// take returns the Events since the last call, sorted.
func (f *fakeEvents) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.events
	f.events = nil
	slices.Sort(taken)
	return taken
}

// synced is a kube.Syncer.
type synced struct {
	mu sync.Mutex // guards is
	is bool
}

func (s *synced) Synced() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.is }
func (s *synced) set()         { s.mu.Lock(); defer s.mu.Unlock(); s.is = true }

// speaker is one speaker in a cluster of fakes.
type speaker struct {
	*Loop
	t         *testing.T
	inventory *Inventory
	source    *synced
	members   *fakeMembers
	links     *fakeLinks
	layer2    *fakeLayer2
	events    *fakeEvents
	statuses  *Statuses
	api       *fakeStatusAPI
	registry  *prometheus.Registry
}

// option changes a speaker before it is made.
type option func(*Config)

func withoutGossip(c *Config) { c.Members = nil }

// newSpeaker returns a speaker on the node that does not run and knows nothing yet.
func newSpeaker(t *testing.T, node lb.NodeName, api *fakeStatusAPI, options ...option) *speaker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &speaker{
		t: t, source: new(synced), members: newFakeMembers(node), links: newFakeLinks("eth0", "eth1"),
		layer2: &fakeLayer2{announced: make(map[netip.Addr][]string)}, events: new(fakeEvents),
		inventory: NewInventory(""), api: api, registry: prometheus.NewRegistry(),
	}
	exclusions, err := ReadExclusions(t.TempDir()+"/absent", log)
	if err != nil {
		t.Fatal(err)
	}
	s.statuses = NewStatuses(StatusOwner{
		Node: node, Namespace: "system", PodName: "speaker-" + string(node), PodUID: types.UID("pod-of-" + node),
	}, api, log)
	c := Config{
		Node: node, Inventory: s.inventory, Sources: []kube.Syncer{s.source}, Members: s.members,
		Links: s.links, Exclusions: exclusions, Layer2: s.layer2, Events: s.events, Statuses: s.statuses,
		Log: log, Registerer: s.registry,
	}
	for _, o := range options {
		o(&c)
	}
	s.Loop = New(c)
	return s
}

// start runs the speaker until the test's bubble is to end.
func (s *speaker) start() (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{
		"loop": s.Run, "statuses": s.statuses.Run, "exclusions": s.Exclusions.Run,
	} {
		group.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				s.t.Errorf("%s: %v", name, err)
			}
		})
	}
	watch := s.api.watch(s.statuses)
	return func() {
		cancel()
		watch()
		group.Wait()
	}
}

// settle lets everything that the loop waits for happen.
func (s *speaker) settle() {
	s.source.set()
	close(s.links.ready)
	close(s.members.settled)
	s.quiesce()
}

// quiesce waits until everybody waits for something to happen.
func (s *speaker) quiesce() {
	time.Sleep(5 * time.Second) // fake: more than any delay of drift and retry
	synctest.Wait()
}

func (s *speaker) expectAnnounced(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, s.layer2.addresses()); diff != "" {
		s.t.Errorf("announced on %s (-want +got):\n%s", s.Node, diff)
	}
}

func (s *speaker) expectEvents(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, s.events.take()); diff != "" {
		s.t.Errorf("events of %s (-want +got):\n%s", s.Node, diff)
	}
}

// The objects of the tests.

func pool(addresses ...string) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "pool", UID: "pool", Generation: 1},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
}

func advertisement(interfaces ...string) *v1beta1.L2Advertisement {
	return &v1beta1.L2Advertisement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "ad", UID: "ad", Generation: 1},
		Spec:       v1beta1.L2AdvertisementSpec{Interfaces: interfaces},
	}
}

func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "10.0.0." + fmt.Sprint(len(name)+int(name[len(name)-1]))},
		}},
	}
}

func service(name string, addresses ...string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}},
	}
	for _, a := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

func slice(service string, nodes ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: service + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, n := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n})
	}
	return s
}

// fill gives the inventory a pool, an advertisement and nodes.
func fill(v *Inventory, nodes ...string) {
	v.OnPool(nil, pool("192.0.2.0/24", "2001:db8::/64"))
	v.OnL2Advertisement(nil, advertisement())
	for _, n := range nodes {
		v.OnNode(nil, node(n))
	}
}

// add gives the inventory a Service with an endpoint.
func add(v *Inventory, name string, addresses ...string) {
	v.OnService(nil, service(name, addresses...))
	v.OnEndpointSlice(nil, slice(name, "a"))
}
