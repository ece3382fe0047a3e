// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// runner runs one pod.
type runner struct {
	kubelet *Kubelet
	node    *Node
	pod     *corev1.Pod // as it was at the start; what may change is in latest
	log     *slog.Logger
	dir     string
	done    chan struct{}
	bell    chan struct{} // capacity 1: the status may have changed

	// Set by prepare, before containers exist.
	addresses []netip.Addr
	number    int
	netns     *netns.Namespace
	spawner   *netns.Spawner

	tokens map[string]token // by audience; only the volumes' writer uses it

	mu         sync.Mutex // guards everything below
	latest     *corev1.Pod
	containers []*Container // also guarded by Kubelet.mu for writing
	waiting    string       // why it cannot start yet
	cancel     context.CancelCauseFunc
	stopping   bool
	grace      time.Duration
}

func newRunner(k *Kubelet, node *Node, pod *corev1.Pod) *runner {
	return &runner{
		kubelet: k, node: node, pod: pod, latest: pod,
		log:  k.config.Log.With("pod", pod.Namespace+"/"+pod.Name, "node", node.Name),
		dir:  filepath.Join(k.config.Dir, "pods", string(pod.UID)),
		done: make(chan struct{}), tokens: map[string]token{},
		bell: make(chan struct{}, 1),
	}
}

// run runs the pod until it is stopped or abandoned, or ctx ends.
func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.cancel = cancel
	if r.stopping {
		cancel(nil)
	}
	r.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() { r.reportStatus(ctx) })
	if err := r.prepare(ctx); err == nil {
		r.runContainers(ctx)
	}
	<-ctx.Done()
	wg.Wait()
	if err := r.tearDown(); err != nil {
		r.log.Error("remove pod", "error", err)
	}
	if outer.Err() != nil || errors.Is(context.Cause(ctx), errAbandoned) {
		return
	}
	if err := retry(outer, func() error { return r.kubelet.deleteNow(outer, r.pod) }, func(error) {}); err != nil {
		r.log.Warn("delete pod", "error", err)
	}
}

// update takes a newer version of the pod.
func (r *runner) update(pod *corev1.Pod) {
	r.mu.Lock()
	r.latest = pod
	r.mu.Unlock()
	r.ring()
}

// stop ends the pod in good order.
func (r *runner) stop(grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping && grace >= r.grace {
		return
	}
	r.stopping, r.grace = true, grace
	if r.cancel != nil {
		r.cancel(nil)
	}
}

// abandon ends the pod at once, as a loss of power would.
func (r *runner) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping, r.grace = true, 0
	if r.cancel != nil {
		r.cancel(errAbandoned)
	}
}

func (r *runner) ring() {
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// prepare makes the pod's network and volumes, however long it takes: a Secret
// may be created by another pod. It fails only when the pod is being ended.
func (r *runner) prepare(ctx context.Context) error {
	wait := func(err error) {
		r.mu.Lock()
		changed := r.waiting != err.Error()
		r.waiting = err.Error()
		r.mu.Unlock()
		if changed {
			r.log.Info("pod cannot start yet", "error", err)
			r.ring()
		}
	}
	if err := retry(ctx, r.connect, wait); err != nil {
		return err
	}
	if err := retry(ctx, func() error { return r.writeVolumes(ctx) }, wait); err != nil {
		return err
	}
	if err := retry(ctx, r.makeContainers, wait); err != nil {
		return err
	}
	r.mu.Lock()
	r.waiting = ""
	r.mu.Unlock()
	return nil
}

// retry calls step until it succeeds or ctx ends.
func retry(ctx context.Context, step func() error, failed func(error)) error {
	const every = 250 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := step()
		if err == nil {
			return nil
		}
		failed(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// connect gives the pod a network: its node's, or one of its own.
func (r *runner) connect() (err error) {
	if r.spawner != nil {
		return nil
	}
	if r.pod.Spec.HostNetwork {
		r.addresses, r.netns, r.spawner = r.node.Addresses, r.node.Netns, r.node.Spawner
		return nil
	}
	r.addresses, r.number, err = r.node.pool.take()
	if err != nil {
		return err
	}
	name := r.kubelet.config.Prefix + r.node.Name + "-" + r.pod.Name
	r.netns, err = fabric.AddPod(r.node.Netns, name, r.veth(), r.addresses, r.node.pool.gateways())
	if err != nil {
		r.node.pool.giveBack(r.number)
		return err
	}
	if r.spawner, err = netns.NewSpawner(r.netns); err != nil {
		r.node.pool.giveBack(r.number)
		return errors.Join(err, fabric.RemovePod(r.node.Netns, r.netns, r.veth()))
	}
	return nil
}

// veth names the node's end of the pod's link. The prefix is the one that other
// network plug-ins use, and that speakers know to stay away from.
func (r *runner) veth() string {
	h := fnv.New32a()
	h.Write([]byte(r.pod.UID))
	return fmt.Sprintf("veth%08x", h.Sum32())
}

// runContainers runs all containers until ctx ends.
func (r *runner) runContainers(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range r.containers {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Go(func() { r.refreshVolumes(ctx) })
	wg.Wait()
}

// tearDown removes what prepare made.
func (r *runner) tearDown() error {
	errs := []error{os.RemoveAll(r.dir)}
	if r.spawner != nil && !r.pod.Spec.HostNetwork {
		r.spawner.Close()
		errs = append(errs, fabric.RemovePod(r.node.Netns, r.netns, r.veth()))
		r.node.pool.giveBack(r.number)
	}
	return errors.Join(errs...)
}
