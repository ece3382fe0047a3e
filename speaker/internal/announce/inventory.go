// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// Inventory is what the API server has told, indexed for the loop, and a list of what
// has changed since the loop last asked. Of Services and EndpointSlices, of which there
// may be tens of thousands, it keeps what it needs, and nobody else keeps anything.
//
// Its On methods are callbacks for informers. All methods are safe for concurrent use.
type Inventory struct {
	// Drain marks the nodes that count as draining. It is set before the first callback.
	Drain lb.DrainMark

	class   string
	changed chan struct{}

	mu             sync.Mutex // guards what follows
	services       map[lb.ServiceName]*keptService
	endpointSlices map[lb.ServiceName][]*keptSlice // by Service; replaced, never modified
	slices         map[types.NamespacedName]*keptSlice
	holders        map[netip.Addr][]lb.ServiceName
	nodes          map[string]*corev1.Node
	pools          map[string]*v1beta1.IPAddressPool
	advertisements map[string]*v1beta1.L2Advertisement
	bgp            bgpObjects

	dirty        map[netip.Addr]struct{}
	configDirty  bool
	nodesDirty   bool
	updates      uint64 // objects that came, changed or went
	dirtyService map[lb.ServiceName]struct{}
}

// NewInventory returns an empty inventory of the Services with that
// loadBalancerClass; the empty one is that of Services without a class.
func NewInventory(class string) *Inventory {
	return &Inventory{
		class:          class,
		changed:        make(chan struct{}, 1),
		services:       make(map[lb.ServiceName]*keptService),
		endpointSlices: make(map[lb.ServiceName][]*keptSlice),
		slices:         make(map[types.NamespacedName]*keptSlice),
		holders:        make(map[netip.Addr][]lb.ServiceName),
		nodes:          make(map[string]*corev1.Node),
		pools:          make(map[string]*v1beta1.IPAddressPool),
		advertisements: make(map[string]*v1beta1.L2Advertisement),
		bgp:            newBGPObjects(),
		dirty:          make(map[netip.Addr]struct{}),
		dirtyService:   make(map[lb.ServiceName]struct{}),
		configDirty:    true, // no configuration is one, too
		nodesDirty:     true,
	}
}

// OnService takes note of a Service of type LoadBalancer. Old is nil when it is new,
// now is nil when it is gone. Of old, the name counts.
func (v *Inventory) OnService(old, now *corev1.Service) {
	if old == nil {
		old = now
	}
	name := lb.ServiceName{Namespace: old.Namespace, Name: old.Name}
	var kept *keptService
	if now != nil && v.isOurs(now) {
		kept = keepService(now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.services[name] // nil also when it was of another class
	if before == nil && kept == nil {
		return
	}
	for _, a := range addressesOf(before) {
		v.release(a, name)
	}
	delete(v.services, name)
	if kept != nil {
		v.services[kept.name] = kept
		for _, a := range kept.addresses {
			v.hold(a, kept.name)
		}
	}
	v.note()
}

func (v *Inventory) isOurs(s *corev1.Service) bool {
	class := ""
	if s.Spec.LoadBalancerClass != nil {
		class = *s.Spec.LoadBalancerClass
	}
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && class == v.class
}

func addressesOf(s *keptService) []netip.Addr {
	if s == nil {
		return nil
	}
	return s.addresses
}

func (v *Inventory) hold(a netip.Addr, name lb.ServiceName) {
	if !slices.Contains(v.holders[a], name) {
		v.holders[a] = append(v.holders[a], name)
	}
	v.dirty[a] = struct{}{}
}

func (v *Inventory) release(a netip.Addr, name lb.ServiceName) {
	rest := slices.DeleteFunc(v.holders[a], func(n lb.ServiceName) bool { return n == name })
	if len(rest) == 0 {
		delete(v.holders, a)
	} else {
		v.holders[a] = rest
	}
	v.dirty[a] = struct{}{}
}

// OnEndpointSlice takes note of an EndpointSlice of any Service, as OnService does.
func (v *Inventory) OnEndpointSlice(old, now *discoveryv1.EndpointSlice) {
	if old == nil {
		old = now
	}
	key := types.NamespacedName{Namespace: old.Namespace, Name: old.Name}
	var kept *keptSlice
	if now != nil && serviceOf(now).Name != "" { // else somebody's own, for no Service
		kept = keepSlice(now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.slices[key]
	if before == nil && kept == nil {
		return
	}
	if before != nil {
		delete(v.slices, key)
		v.replaceSlices(before.service, without(v.endpointSlices[before.service], before))
	}
	if kept != nil {
		key.Name = kept.name
		v.slices[key] = kept
		v.replaceSlices(kept.service, append(without(v.endpointSlices[kept.service], nil), kept))
	}
	v.note()
}

// replaceSlices says which slices a Service has. The caller holds the lock.
func (v *Inventory) replaceSlices(name lb.ServiceName, all []*keptSlice) {
	delete(v.endpointSlices, name) // the strings of the key are a slice's, which may be gone
	if len(all) > 0 {
		v.endpointSlices[name] = all
	}
	v.dirtyService[name] = struct{}{}
}

// without returns a copy, so that those who have the old one may go on reading it.
func without(all []*keptSlice, gone *keptSlice) []*keptSlice {
	rest := make([]*keptSlice, 0, len(all)+1)
	for _, s := range all {
		if s != gone {
			rest = append(rest, s)
		}
	}
	return rest
}

// OnNode takes note of a Node. Heartbeats and other changes that do not concern us are
// left out, for each costs a decision on every address.
func (v *Inventory) OnNode(old, now *corev1.Node) {
	if old != nil && now != nil && v.sameNode(old, now) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	replace(v.nodes, old, now)
	v.nodesDirty = true
	v.note()
}

func (v *Inventory) sameNode(old, now *corev1.Node) bool {
	a, b := v.parseNode(old), v.parseNode(now)
	return a.Name == b.Name && a.NetworkUnavailable == b.NetworkUnavailable && a.Excluded == b.Excluded &&
		a.Draining == b.Draining && maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Addresses, b.Addresses)
}

func (v *Inventory) parseNode(n *corev1.Node) lb.Node {
	node := lb.ParseNode(n)
	node.Draining = v.Drain.On(n)
	return node
}

// OnPool takes note of an IPAddressPool. Changes of its status are left out.
func (v *Inventory) OnPool(old, now *v1beta1.IPAddressPool) {
	if old != nil && now != nil && sameDefinition(old, now) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	replace(v.pools, old, now)
	v.configDirty = true
	v.note()
}

// OnL2Advertisement takes note of an L2Advertisement. Changes of its status are left
// out.
func (v *Inventory) OnL2Advertisement(old, now *v1beta1.L2Advertisement) {
	if old != nil && now != nil && sameDefinition(old, now) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	replace(v.advertisements, old, now)
	v.configDirty = true
	v.note()
}

// definition is what an administrator can change of an object: its spec, of which the
// API server counts the generations, its labels and its annotations.
type definition interface {
	GetUID() types.UID
	GetGeneration() int64
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}

func sameDefinition(old, now definition) bool {
	return old.GetUID() == now.GetUID() && old.GetGeneration() == now.GetGeneration() &&
		maps.Equal(old.GetLabels(), now.GetLabels()) && maps.Equal(old.GetAnnotations(), now.GetAnnotations())
}

// replace puts now in the place of old, by name. Either may be nil.
func replace[T any, P interface {
	*T
	GetName() string
}](m map[string]P, old, now P) {
	if old != nil {
		delete(m, old.GetName())
	}
	if now != nil {
		m[now.GetName()] = now
	}
}

// note counts a change and rings. The caller holds the lock.
func (v *Inventory) note() {
	v.updates++
	ring(v.changed)
}

// changes is what the loop has to look at again.
type changes struct {
	config    bool
	addresses map[netip.Addr]struct{}
}

// take returns what has changed since the last call, nodes apart.
func (v *Inventory) take() changes {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name := range v.dirtyService {
		for _, a := range addressesOf(v.services[name]) {
			v.dirty[a] = struct{}{}
		}
	}
	c := changes{config: v.configDirty, addresses: v.dirty}
	v.configDirty = false
	v.dirty, v.dirtyService = make(map[netip.Addr]struct{}), make(map[lb.ServiceName]struct{})
	return c
}

// addresses returns all addresses that a Service holds.
func (v *Inventory) addresses() []netip.Addr {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.AppendSeq(make([]netip.Addr, 0, len(v.holders)), maps.Keys(v.holders))
}

// holds reports whether a Service has the address.
func (v *Inventory) holds(a netip.Addr) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.holders[a]) > 0
}

// tell writes an Event for each Service that holds the address.
func (v *Inventory) tell(to Events, a netip.Addr, kind, reason, message string) {
	for _, s := range v.sharers(a) {
		if uid := v.uid(s.Service.Name); uid != "" {
			to.Write(kube.Event{Service: s.Service.Name, UID: uid, Type: kind, Reason: reason, Message: message})
		}
	}
}

// addAddresses adds all addresses that a Service holds to set.
func (v *Inventory) addAddresses(set map[netip.Addr]struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for a := range v.holders {
		set[a] = struct{}{}
	}
}

// addShared adds the addresses that several Services hold to set.
func (v *Inventory) addShared(set map[netip.Addr]struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for a, holders := range v.holders {
		if len(holders) > 1 {
			set[a] = struct{}{}
		}
	}
}

// sharers returns the Services that hold the address, with their endpoints.
func (v *Inventory) sharers(a netip.Addr) []plan.Sharer { return v.sharersIn(new(sharing), a) }

// sharersIn is sharers in the room of an earlier result, which is lost.
func (v *Inventory) sharersIn(room *sharing, a netip.Addr) []plan.Sharer {
	room.holders = room.holders[:0]
	v.mu.Lock()
	for _, name := range v.holders[a] {
		room.holders = append(room.holders, holder{v.services[name], v.endpointSlices[name]})
	}
	v.mu.Unlock()
	return room.parse()
}

// uid returns the UID of a Service, for Events about it.
func (v *Inventory) uid(name lb.ServiceName) types.UID {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.services[name]; s != nil {
		return s.uid
	}
	return ""
}

// takeNodes returns all nodes if one has changed since the last call.
func (v *Inventory) takeNodes() ([]lb.Node, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.nodesDirty {
		return nil, false
	}
	v.nodesDirty = false
	return v.listNodes(), true
}

// peekNodes returns all nodes, and leaves takeNodes what it has.
func (v *Inventory) peekNodes() []lb.Node {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.listNodes()
}

// listNodes returns all nodes. The caller holds the lock.
func (v *Inventory) listNodes() []lb.Node {
	nodes := make([]lb.Node, 0, len(v.nodes))
	for _, n := range v.nodes {
		nodes = append(nodes, v.parseNode(n))
	}
	return nodes
}

// reconsider has everything decided again: time has passed that matters.
func (v *Inventory) reconsider() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodesDirty = true
	v.note()
}

// config returns the configuration, and what is wrong with the objects.
func (v *Inventory) config() (lb.Config, []lb.Problem) {
	v.mu.Lock()
	objects := lb.Objects{
		Pools:            slices.Collect(maps.Values(v.pools)),
		L2Advertisements: slices.Collect(maps.Values(v.advertisements)),
	}
	v.bgp.addTo(&objects)
	v.mu.Unlock()
	return lb.ParseConfig(objects)
}

// updateCount returns how many objects came, changed or went so far.
func (v *Inventory) updateCount() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.updates
}

// ring rings a bell of capacity one.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// forget takes back that a bell has been rung: what it was rung for will be seen anyway.
func forget(bell <-chan struct{}) {
	select {
	case <-bell:
	default:
	}
}
