// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Config says what a Kubelet works with. All fields are required.
type Config struct {
	Client kubernetes.Interface
	// Dir receives the pods' volumes, and logs below it.
	Dir string
	// Shim is the program that turns itself into a container when called with
	// ShimArgs.
	Shim     string
	ShimArgs []string
	// Programs are what images stand for, by the name of the program.
	Programs map[string]Program
	Nodes    []*Node
	// API is where pods find the API server: the Service default/kubernetes.
	API netip.AddrPort
	// Prefix is what the names of pods' namespaces start with.
	Prefix string
	// Backoff is the longest pause before a container that has ended starts again.
	Backoff time.Duration
	// TLS is what nodes answer the API server with.
	TLS *tls.Config
	Log *slog.Logger
}

// Program is what an image stands for.
type Program struct {
	// Path is the file on the machine.
	Path string
	// Args precede those of the manifest.
	Args []string
}

// Node is a node as its kubelet sees it.
type Node struct {
	Name string
	// Netns is where the node's own processes are.
	Netns   *netns.Namespace
	Spawner *netns.Spawner
	// Addresses are the node's internal addresses, the primary family first.
	Addresses []netip.Addr
	// PodCIDRs are what its pods' addresses are from, in the same order.
	PodCIDRs []netip.Prefix

	pool addressPool
}

// Kubelet runs the pods of all nodes.
type Kubelet struct {
	config     Config
	nodes      map[string]*Node
	pods       corelisters.PodLister
	apinodes   corelisters.NodeLister
	secrets    corelisters.SecretLister
	configMaps corelisters.ConfigMapLister
	queue      workqueue.TypedRateLimitingInterface[types.NamespacedName]

	informers informers.SharedInformerFactory
	runners   sync.WaitGroup

	mu      sync.Mutex // guards everything below
	running map[types.NamespacedName]*runner
	down    map[string]bool      // nodes without power
	assumed map[types.UID]string // pods bound by us that the informer shows unbound yet
}

// New returns a Kubelet that has not started.
func New(c Config) *Kubelet {
	factory := informers.NewSharedInformerFactory(c.Client, 0)
	k := &Kubelet{
		config:     c,
		nodes:      map[string]*Node{},
		informers:  factory,
		pods:       factory.Core().V1().Pods().Lister(),
		apinodes:   factory.Core().V1().Nodes().Lister(),
		secrets:    factory.Core().V1().Secrets().Lister(),
		configMaps: factory.Core().V1().ConfigMaps().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](50*time.Millisecond, 5*time.Second)),
		running: map[types.NamespacedName]*runner{},
		down:    map[string]bool{},
		assumed: map[types.UID]string{},
	}
	for _, n := range c.Nodes {
		n.pool = newAddressPool(n.PodCIDRs)
		k.nodes[n.Name] = n
	}
	return k
}

// Run schedules and runs pods until ctx ends. It ends all pods' processes before
// it returns, but leaves the pods in the API server: the lab is going away.
func (k *Kubelet) Run(ctx context.Context) error {
	enqueue := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			k.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
		}
	}
	informer := k.informers.Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			enqueue(object)
		},
	}); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	// A node that gains a label may be what a waiting pod was waiting for.
	if _, err := k.informers.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { k.enqueueWaiting() },
		UpdateFunc: func(_, _ any) { k.enqueueWaiting() },
	}); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	k.informers.Start(ctx.Done())
	k.informers.WaitForCacheSync(ctx.Done())
	stop := context.AfterFunc(ctx, k.queue.ShutDown)
	defer stop()
	var servers errgroup.Group
	for _, n := range k.config.Nodes {
		servers.Go(func() error { return k.serveLogs(ctx, n, k.config.TLS) })
	}
	for k.next(ctx) {
	}
	k.runners.Wait()
	k.informers.Shutdown()
	return servers.Wait()
}

func (k *Kubelet) next(ctx context.Context) bool {
	key, shutdown := k.queue.Get()
	if shutdown {
		return false
	}
	defer k.queue.Done(key)
	if err := k.sync(ctx, key); err != nil {
		if ctx.Err() == nil {
			k.config.Log.Warn("sync pod", "pod", key.String(), "error", err)
		}
		k.queue.AddRateLimited(key)
		return true
	}
	k.queue.Forget(key)
	return true
}

// sync brings one pod a step forward. Everything slow is left to its runner.
func (k *Kubelet) sync(ctx context.Context, key types.NamespacedName) error {
	pod, err := k.pods.Pods(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("look up pod: %w", err)
	}
	r := k.runner(key)
	if r != nil && (pod == nil || r.pod.UID != pod.UID) {
		r.stop(0)  // gone from the API server: forced deletion
		return nil // the runner's end brings the key back
	}
	switch {
	case pod == nil:
		return nil
	case pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil:
		return k.schedule(ctx, pod)
	case k.nodes[pod.Spec.NodeName] == nil, k.isDown(pod.Spec.NodeName):
		return nil
	case pod.DeletionTimestamp != nil && r == nil:
		return k.deleteNow(ctx, pod)
	case pod.DeletionTimestamp != nil:
		r.stop(graceOf(pod))
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
	case r == nil:
		k.start(ctx, key, pod)
	default:
		r.update(pod)
	}
	return nil
}

func graceOf(pod *corev1.Pod) time.Duration {
	if pod.DeletionGracePeriodSeconds == nil {
		return 0
	}
	return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
}

// start hands a pod to a runner of its own.
func (k *Kubelet) start(ctx context.Context, key types.NamespacedName, pod *corev1.Pod) {
	r := newRunner(k, k.nodes[pod.Spec.NodeName], pod)
	k.mu.Lock()
	delete(k.assumed, pod.UID)
	k.running[key] = r
	k.mu.Unlock()
	k.runners.Go(func() {
		r.run(ctx)
		k.mu.Lock()
		delete(k.running, key)
		k.mu.Unlock()
		k.queue.Add(key)
	})
}

func (k *Kubelet) runner(key types.NamespacedName) *runner {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running[key]
}

func (k *Kubelet) isDown(node string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.down[node]
}

// deleteNow tells the API server that nothing of a pod is left.
func (k *Kubelet) deleteNow(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	err := k.config.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete pod: %w", err)
	}
	return nil
}

// PowerOff ends every process of a node's pods at once, tells nobody, and starts
// none until PowerOn. It returns when they are gone.
func (k *Kubelet) PowerOff(ctx context.Context, node string) error {
	k.mu.Lock()
	k.down[node] = true
	var victims []*runner
	for _, r := range k.running {
		if r.node.Name == node {
			victims = append(victims, r)
		}
	}
	k.mu.Unlock()
	for _, r := range victims {
		r.abandon()
	}
	for _, r := range victims {
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("power off %s: %w", node, ctx.Err())
		}
	}
	return nil
}

// PowerOn lets a node's pods run again, as after a reboot: the same pods, with
// new addresses.
func (k *Kubelet) PowerOn(node string) error {
	k.mu.Lock()
	delete(k.down, node)
	k.mu.Unlock()
	return k.enqueueWhere(func(pod *corev1.Pod) bool { return pod.Spec.NodeName == node || pod.Spec.NodeName == "" })
}

func (k *Kubelet) enqueueWaiting() {
	// The cache can always be listed; it may be empty still.
	_ = k.enqueueWhere(func(pod *corev1.Pod) bool { return pod.Spec.NodeName == "" })
}

func (k *Kubelet) enqueueWhere(wanted func(*corev1.Pod) bool) error {
	pods, err := k.pods.List(everything)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, pod := range pods {
		if wanted(pod) {
			k.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
		}
	}
	return nil
}

// Containers returns the running containers of a node that a name means: a
// container's own, or a pod's.
func (k *Kubelet) Containers(node, name string) ([]*Container, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []*Container
	for _, r := range k.running {
		if r.node.Name != node {
			continue
		}
		for _, c := range r.containers {
			if c.spec.Name == name || r.pod.Name == name {
				found = append(found, c)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("find container %s/%s: none runs there", node, name)
	}
	return found, nil
}

// ContainersOf returns all containers of a node in order of their names.
func (k *Kubelet) ContainersOf(node string) []*Container {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []*Container
	for _, r := range k.running {
		if r.node.Name == node {
			found = append(found, r.containers...)
		}
	}
	slices.SortFunc(found, func(a, b *Container) int { return strings.Compare(a.Name(), b.Name()) })
	return found
}

var errAbandoned = errors.New("abandoned")
