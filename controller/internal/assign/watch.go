// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// indexNamespace finds Services by their namespace.
const indexNamespace = "namespace"

// watched are the informers of everything that the controller looks at.
type watched struct {
	client    *kube.Client
	namespace string

	servicesOf  *kube.Informer[*corev1.Service]
	namespaces  *kube.Informer[*corev1.Namespace]
	pools       *kube.Informer[*v1beta1.IPAddressPool]
	l2          *kube.Informer[*v1beta1.L2Advertisement]
	bgp         *kube.Informer[*v1beta1.BGPAdvertisement]
	peers       *kube.Informer[*v1beta2.BGPPeer]
	bfd         *kube.Informer[*v1beta1.BFDProfile]
	communities *kube.Informer[*v1beta1.Community]
	kept        *kube.Informer[*v1alpha1.AddressReservation]
	nodesOf     *kube.Informer[*corev1.Node]

	// reader is told what has changed. Nil: nobody wants to know.
	reader atomic.Pointer[func(key)]
	all    informers
}

// informers are several informers of whatever kinds.
type informers []informer

type informer interface {
	kube.Syncer
	Run(context.Context) error
}

// watch prepares the informers. Configuration is read from namespace only.
func watch(c *kube.Client, namespace string) (*watched, error) {
	w := &watched{client: c, namespace: namespace}
	var failed error
	w.servicesOf = informerOf(w, &failed, c.Services, loadBalancers(),
		func(s *corev1.Service) key { return key{s.Namespace, s.Name} })
	w.namespaces = informerOf(w, &failed, c.Namespaces, allNamespaces(),
		func(n *corev1.Namespace) key { return key{Namespace: n.Name} })
	w.pools = configInformer(w, &failed, c.IPAddressPools, namespace)
	w.l2 = configInformer(w, &failed, c.L2Advertisements, namespace)
	w.bgp = configInformer(w, &failed, c.BGPAdvertisements, namespace)
	w.peers = configInformer(w, &failed, c.BGPPeers, namespace)
	w.bfd = configInformer(w, &failed, c.BFDProfiles, namespace)
	w.communities = configInformer(w, &failed, c.Communities, namespace)
	w.kept = informerOf(w, &failed, c.AddressReservations, allReservations(namespace),
		func(r *v1alpha1.AddressReservation) key { return key{r.Namespace, r.Spec.ServiceName} })
	w.nodesOf = informerOf(w, &failed, c.Nodes, kube.Watched[*corev1.Node]{Trim: onlyLabels},
		func(*corev1.Node) key { return key{} })
	return w, failed
}

// onlyLabels keeps of a Node what selects it.
func onlyLabels(n *corev1.Node) {
	n.Annotations, n.Spec, n.Status = nil, corev1.NodeSpec{}, corev1.NodeStatus{}
}

func loadBalancers() kube.Watched[*corev1.Service] {
	return kube.Watched[*corev1.Service]{
		FieldSelector: "spec.type=LoadBalancer",
		Trim:          kube.TrimService,
		Indexes: map[string]func(*corev1.Service) []string{
			indexNamespace: func(s *corev1.Service) []string { return []string{s.Namespace} },
		},
	}
}

// indexService finds reservations by the Service they are for.
const indexService = "service"

// allReservations are those of all namespaces. That an address is contested can be said
// in the speakers' own namespace only.
func allReservations(speakers string) kube.Watched[*v1alpha1.AddressReservation] {
	return kube.Watched[*v1alpha1.AddressReservation]{
		Trim: func(r *v1alpha1.AddressReservation) {
			r.Annotations = nil
			if r.Namespace != speakers {
				delete(r.Labels, v1alpha1.LabelContested)
			}
		},
		Indexes: map[string]func(*v1alpha1.AddressReservation) []string{
			indexNamespace: func(r *v1alpha1.AddressReservation) []string { return []string{r.Namespace} },
			indexService: func(r *v1alpha1.AddressReservation) []string {
				return []string{lb.ServiceName{Namespace: r.Namespace, Name: r.Spec.ServiceName}.String()}
			},
		},
	}
}

func allNamespaces() kube.Watched[*corev1.Namespace] {
	return kube.Watched[*corev1.Namespace]{Trim: kube.TrimNamespace}
}

// object is what all API types are.
type object interface {
	comparable
	runtime.Object
	metav1.Object
}

// informerOf prepares one informer whose changes are told by their key.
func informerOf[T object](w *watched, failed *error, r kube.Resource[T], which kube.Watched[T], keyOf func(T) key) *kube.Informer[T] {
	if *failed != nil {
		return nil
	}
	i, err := r.Informer(which)
	if err == nil {
		var none T
		err = i.OnChange(func(old, now T) {
			switch {
			case now == none:
				w.tell(keyOf(old))
			case old == none || relevant(old, now):
				w.tell(keyOf(now))
				if old != none && keyOf(old) != keyOf(now) {
					w.tell(keyOf(old)) // it was deleted and made anew, for another Service
				}
			}
		})
	}
	*failed = err
	w.all = append(w.all, i)
	return i
}

// configInformer prepares the informer of one kind of configuration object.
func configInformer[T object](w *watched, failed *error, r kube.Resource[T], namespace string) *kube.Informer[T] {
	return informerOf(w, failed, r, kube.Watched[T]{Namespace: namespace}, func(T) key { return key{} })
}

// relevant reports whether a change may matter. The status of a configuration object
// is our own writing; of a Namespace only the labels count.
func relevant[T object](old, now T) bool {
	if _, ok := any(now).(*corev1.Service); ok {
		return true
	}
	return old.GetUID() != now.GetUID() || old.GetGeneration() != now.GetGeneration() ||
		!maps.Equal(old.GetLabels(), now.GetLabels()) || !maps.Equal(old.GetAnnotations(), now.GetAnnotations())
}

// run follows the API server until ctx ends.
func (w *watched) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, i := range w.all {
		group.Go(func() error { return i.Run(ctx) })
	}
	group.Go(func() error {
		if w.all.wait(ctx) == nil {
			w.tell(key{}) // now that it is complete, the configuration can be judged
		}
		return nil
	})
	return group.Wait()
}

// essential are the informers without which nothing can be decided. The others only
// matter for what is said about the configuration.
func (w *watched) essential() informers {
	return informers{w.servicesOf, w.namespaces, w.pools, w.kept}
}

// synced reports whether the first complete lists have arrived.
func (is informers) synced() bool {
	return !slices.ContainsFunc(is, func(i informer) bool { return !i.Synced() })
}

// wait blocks until the first complete lists have arrived, or returns ctx's error.
func (is informers) wait(ctx context.Context) error {
	syncers := make([]kube.Syncer, len(is))
	for n, i := range is {
		syncers[n] = i
	}
	return kube.WaitForSync(ctx, syncers...)
}

// catchUp returns once the informers show everything that decisions depend on and
// that the API server had at the time of the call.
func (w *watched) catchUp(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return catchUp(ctx, w.client.Services, loadBalancers(), w.servicesOf) })
	group.Go(func() error { return catchUp(ctx, w.client.Namespaces, allNamespaces(), w.namespaces) })
	group.Go(func() error { return catchUp(ctx, w.client.AddressReservations, allReservations(w.namespace), w.kept) })
	group.Go(func() error {
		return catchUp(ctx, w.client.IPAddressPools, kube.Watched[*v1beta1.IPAddressPool]{Namespace: w.namespace}, w.pools)
	})
	return group.Wait()
}

// follow has f told of every change from now on, until it is nil.
func (w *watched) follow(f func(key)) {
	if f == nil {
		w.reader.Store(nil)
		return
	}
	w.reader.Store(&f)
}

func (w *watched) tell(k key) {
	if f := w.reader.Load(); f != nil {
		(*f)(k)
	}
}

func (w *watched) service(name lb.ServiceName) (*corev1.Service, bool) {
	return w.servicesOf.Get(name.Namespace, name.Name)
}

func (w *watched) services() []*corev1.Service { return w.servicesOf.List() }

func (w *watched) servicesIn(namespace string) []*corev1.Service {
	return w.servicesOf.ByIndex(indexNamespace, namespace)
}

func (w *watched) allReservations() []*v1alpha1.AddressReservation { return w.kept.List() }

func (w *watched) reservationsIn(namespace string) []*v1alpha1.AddressReservation {
	return w.kept.ByIndex(indexNamespace, namespace)
}

func (w *watched) reservationsFor(name lb.ServiceName) []*v1alpha1.AddressReservation {
	return w.kept.ByIndex(indexService, name.String())
}

func (w *watched) namespaceLabels(name string) labels.Set {
	if n, ok := w.namespaces.Get("", name); ok {
		return n.Labels
	}
	return nil
}

func (w *watched) nodes() []lb.Node {
	var nodes []lb.Node
	for _, n := range w.nodesOf.List() {
		nodes = append(nodes, lb.ParseNode(n))
	}
	return nodes
}

func (w *watched) config() (objects lb.Objects, complete bool) {
	complete = w.all.synced()
	return lb.Objects{
		Pools:             w.pools.List(),
		L2Advertisements:  w.l2.List(),
		BGPAdvertisements: w.bgp.List(),
		BGPPeers:          w.peers.List(),
		BFDProfiles:       w.bfd.List(),
		Communities:       w.communities.List(),
	}, complete
}
