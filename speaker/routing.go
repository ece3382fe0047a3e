// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/configstate"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// routing are the parts that BGP is made of.
type routing struct {
	router *bgp.Router
	bfd    *bfd.Sessions
	guards *announce.Guards
}

func newRouting(log *slog.Logger, registry prometheus.Registerer) routing {
	var r routing
	r.router = bgp.New(bgp.Config{Log: log, Registerer: registry})
	// Sessions report to guards, which set sessions: neither is there before the other.
	onChange := func(c bfd.Change) { r.guards.OnChange(c) }
	r.bfd = bfd.New(bfd.Options{Log: log, Registerer: registry, OnChange: onChange})
	r.guards = announce.NewGuards(r.bfd, r.router, log)
	return r
}

// statuses are the status objects of this node: those about Services, of both kinds, and
// that about the configuration.
type statuses struct {
	layer2, bgp *announce.Statuses
	verdict     *configstate.State
}

func newStatuses(f *flags, c *kube.Client, log *slog.Logger) statuses {
	return statuses{
		layer2: announce.NewStatuses(f.statusOwner(), c.ServiceL2Statuses, log),
		bgp:    announce.NewBGPStatuses(f.statusOwner(), c.ServiceBGPStatuses, log),
		verdict: configstate.New(configstate.Config{
			API: c.ConfigurationStates, Namespace: f.options.Namespace, Node: lb.NodeName(f.node),
			PodName: f.podName, PodUID: types.UID(f.podUID), Log: log,
		}),
	}
}

func newEvents(f *flags, c *kube.Client, log *slog.Logger) *kube.EventWriter {
	events := kube.NewEventWriter(c, eventSource, f.node, log)
	events.Patience = announce.Unhurried
	return events
}

// farewell returns a task that does nothing until it is stopped. Then it asks all peers
// to prefer other nodes, and gives them that long to do so, before the sessions end.
// Peers that help a graceful restart are left alone: this process is expected back.
func farewell(router *bgp.Router, wait time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		if wait == 0 || len(router.Snapshot()) == 0 {
			return nil
		}
		// What is not said in twice the time will not be heard.
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*wait)
		defer cancel()
		_ = router.Leave(leaving, wait, false)
		return nil
	}
}
