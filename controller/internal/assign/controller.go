// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/herald-lb/herald/internal/configstate"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// component is the source of the controller's Events, by MetalLB's name.
const component = "metallb-controller"

// Config is what a Controller needs. All fields but Class and Secret are required.
type Config struct {
	Client *kube.Client
	// Lease is the Lease that replicas compete for, Lock is the means to do it.
	Lease types.NamespacedName
	Lock  resourcelock.Interface
	// Namespace is where the configuration and the memberlist Secret are.
	Namespace string
	// Class is the loadBalancerClass of the Services that are ours. Empty: those
	// without a class.
	Class string
	// Secret is the name of the memberlist Secret. Empty: none is made.
	Secret string
	// Metrics is where metrics are registered.
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Controller assigns addresses to Services for as long as it leads.
type Controller struct {
	config  Config
	watched *watched
	metrics *metrics
	fence   *fence
}

// New returns a Controller. It starts nothing.
func New(config Config) (*Controller, error) {
	w, err := watch(config.Client, config.Namespace)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return &Controller{config: config, watched: w, metrics: m, fence: newFence()}, nil
}

// Ready returns nil once the controller has seen every object it looks at. A replica
// that does not lead is ready too: it can take over at once.
func (c *Controller) Ready() error {
	if !c.watched.all.synced() {
		return errors.New("the first lists of objects have not arrived yet")
	}
	return nil
}

// Run follows the API server and leads when it is its turn, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	stands := candidate{
		lock: c.fence.watch(c.config.Lock), leases: c.config.Client.Leases, lease: c.config.Lease, log: c.config.Log, term: c.term,
	}
	stands.before = stands.look(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.watched.run(ctx) })
	group.Go(func() error {
		if err := c.watched.essential().wait(ctx); err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		c.metrics.configLoaded.Set(1)
		return stands.run(ctx)
	})
	return group.Wait()
}

// term does the work of one term of leadership. All it knows is new: what the last
// term knew may be outdated, and the API server has what matters.
func (c *Controller) term(ctx context.Context, fresh bool) error {
	events := kube.NewEventWriter(c.config.Client, component, "", c.config.Log)
	out := newOutbox(c.fence.guard(c.config.Client.Services), events, c.metrics, c.config.Log)
	events.Gate = out.giveWay
	report := newReporter(c.patchers(), c.metrics, c.config.Log)
	state := configstate.New(configstate.Config{API: c.config.Client.ConfigurationStates, Namespace: c.config.Namespace, Log: c.config.Log})
	report.verdict = state.Report
	register := newRegistrar(c.config.Client.AddressReservations, c.fence.open, c.metrics, c.config.Log)
	decide := newDecider(c.watched, c.owns, out, report, register.file, c.config.Log)
	decide.fresh = fresh
	keeper := secretKeeper{c.config.Client.Secrets, c.config.Namespace, c.config.Secret, c.config.Log}

	c.metrics.beginTerm(out, events.Dropped)
	defer c.metrics.endTerm()
	c.watched.follow(decide.queue.Add)
	defer c.watched.follow(nil)

	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{
		decide.run, decide.sweep, out.run, report.run, state.Run, register.run, events.Run, keeper.run,
	} {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// owns reports whether a Service of type LoadBalancer is ours by its class.
func (c *Controller) owns(s *corev1.Service) bool {
	return lb.ClassOf(s) == c.config.Class
}

// patchers returns what writes the status of configuration objects, by kind.
func (c *Controller) patchers() map[string]statusPatcher {
	client := c.config.Client
	all := map[string]statusPatcher{
		kindPool:             client.IPAddressPools,
		kindL2Advertisement:  client.L2Advertisements,
		kindBGPAdvertisement: client.BGPAdvertisements,
		kindBGPPeer:          client.BGPPeers,
		kindBFDProfile:       client.BFDProfiles,
		kindCommunity:        client.Communities,
	}
	for kind, patcher := range all {
		all[kind] = c.fence.guard(patcher)
	}
	return all
}
