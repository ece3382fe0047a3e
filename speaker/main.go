// SPDX-License-Identifier: Apache-2.0

// Command speaker makes the addresses of LoadBalancer Services reachable on the links
// of the node it runs on. See docs/architecture.md.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
)

// eventSource is the name under which users find the speaker's Events; their alerts
// know it.
const eventSource = "metallb-speaker"

func main() { os.Exit(speak()) }

// speak is main with an exit code, so that deferred calls run.
func speak() int {
	flags := newFlags(os.LookupEnv)
	if code, done := flags.Parse(os.Args[1:], os.Stdout, os.Stderr); done {
		return code
	}
	begun := newBeginning(os.Getenv("GOGC") == "")
	log := flags.options.Logger(os.Stderr).With(lb.LogKeyNode, flags.node)
	run.BridgeKlog(log, flags.options.LogLevel)
	for _, ignored := range flags.IgnoredFlags() {
		log.Info("flag without effect", "flag", ignored)
	}
	ctx, stop := run.SignalContext(context.Background())
	defer stop()
	tasks, err := assemble(flags, begun, log)
	if err == nil {
		log.Info("starting", "version", run.Version())
		err = run.Tasks(ctx, log, tasks...)
	}
	return run.ExitCode(log, err)
}

// assemble makes the parts of the process and connects them. The tasks are in the
// order of their start, and stop in the reverse order: package announce says why.
func assemble(f *flags, begun *beginning, log *slog.Logger) ([]run.Task, error) {
	registry := run.NewRegistry()
	config, err := f.options.RESTConfig("herald-speaker/" + run.Version())
	if err != nil {
		return nil, err
	}
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	exclusions, err := announce.ReadExclusions(f.exclusions, log)
	if err != nil {
		return nil, err
	}
	links := link.New(log)
	events := newEvents(f, client, log)
	inventory := announce.NewInventory(f.class)
	inventory.Drain = f.drain
	contests := announce.NewContests(announce.ContestsConfig{Policy: f.contested, Inventory: inventory, Events: events, Log: log})
	announcer := layer2.New(layer2.Options{Log: log, Registerer: registry, Heard: contests.Hear})
	contests.LAN = announcer
	registry.MustRegister(contests)
	others, err := newSpeakers(f, announcer, log, registry)
	if err != nil {
		return nil, err
	}
	statuses := newStatuses(f, client, log)
	statuses.bgp.After = begun.over
	routing := newRouting(log, registry)
	records := announce.NewContestRecords(announce.ContestRecordsConfig{
		Node: lb.NodeName(f.node), Namespace: f.options.Namespace, API: client.AddressReservations,
		Contests: contests, Inventory: inventory, Log: log,
	})
	watches, err := newWatches(client, f.options.Namespace, inventory, statuses, records)
	if err != nil {
		return nil, err
	}
	loopConfig := announce.Config{
		Node: lb.NodeName(f.node), IgnoreExcludeLabel: f.ignoreExclude,
		Failback: f.failback, IgnoreSubnets: f.ignoreSubnets,
		Inventory: inventory, Sources: watches.sources, Configuration: watches.configuration, Links: links, Exclusions: exclusions,
		Layer2: announcer, LAN: announcer, Events: events, Statuses: statuses.layer2, Contests: contests,
		BGP:     &announce.BGP{Router: routing.router, Guards: routing.guards, Statuses: statuses.bgp, DrainWait: f.drainWait},
		Verdict: statuses.verdict, Log: log, Registerer: registry,
	}
	if others != nil { // a nil pointer in an interface would not be nil
		loopConfig.Members, loopConfig.Handover = others.vigil, others.vigil
		loopConfig.Facts, loopConfig.Rumours = others.facts, others.members
		loopConfig.Connections = newConnections(f, announcer, log, registry)
	}
	loop := announce.New(loopConfig)
	if others != nil {
		others.loop, others.vigil.Heir = loop, loop
	}
	sessions := announce.NewSessions(announce.SessionsConfig{
		Node: loopConfig.Node, Source: routing.router, Guards: routing.guards, Inventory: inventory, Events: events, Diagnosed: statuses.bgp,
	})

	readiness := announce.NewReadiness(loop, routing.router)
	probes := run.Probes{
		Live:  []run.Check{{Name: "loop", Probe: loop.Live}},
		Ready: []run.Check{{Name: "announcements", Probe: readiness.Probe}},
	}
	tasks, err := run.ServerTasks("speaker", f.options, probes, registry, config, log)
	if err != nil {
		return nil, err
	}
	tasks = append(tasks, watches.tasks...)
	tasks = append(tasks,
		run.Task{Name: "links", Run: links.Run},
		run.Task{Name: "layer2", Run: announcer.Run},
		run.Task{Name: "contests", Run: contests.Run},
		run.Task{Name: "contest records", Run: records.Run},
		run.Task{Name: "bgp", Run: routing.router.Run},
		run.Task{Name: "bfd", Run: routing.bfd.Run},
		run.Task{Name: "guards", Run: routing.guards.Run},
		run.Task{Name: "events", Run: events.Run},
		run.Task{Name: "statuses", Run: statuses.layer2.Run},
		run.Task{Name: "bgp statuses", Run: statuses.bgp.Run},
		run.Task{Name: "configuration state", Run: statuses.verdict.Run},
		run.Task{Name: "sessions", Run: sessions.Run},
		run.Task{Name: "exclusions", Run: exclusions.Run},
		run.Task{Name: "beginning", Run: begun.until(readiness.Probe)},
	)
	if others != nil {
		tasks = append(tasks,
			run.Task{Name: "watch", Run: others.bfd.Run},
			run.Task{Name: "vigil", Run: others.vigil.Run},
		)
		tasks = append(tasks, selfCheck(f, loop, announcer)...)
		if c := loopConfig.Connections; c != nil {
			tasks = append(tasks, run.Task{Name: "connections", Run: c.Run})
		}
	}
	tasks = append(tasks,
		run.Task{Name: "announcements", Run: loop.Run},
		run.Task{Name: "bgp farewell", Run: farewell(routing.router, f.farewell)},
	)
	if others != nil {
		tasks = append(tasks, run.Task{Name: "gossip", Run: others.gossip})
	}
	return tasks, nil
}
