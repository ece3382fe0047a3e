// SPDX-License-Identifier: Apache-2.0

// Package run is what both binaries share about being a process: flags and
// their defaults from the environment, logging, signals, the tasks of which the
// process consists, health probes, metrics and profiles over HTTP.
//
// It must not know what the process is for: no pools, no Services, no members.
// It knows Kubernetes only as the place the process runs in (a namespace, an
// API server to talk to) and as the judge of who may read metrics.
//
// # How a main uses it
//
//	flags := run.NewFlagSet("speaker", "announces load balancer addresses", os.LookupEnv)
//	options := run.RegisterOptions(flags, run.Defaults{HealthHost: "127.0.0.1"})
//	if code, done := flags.Parse(os.Args[1:], os.Stdout, os.Stderr); done {
//		return code
//	}
//	log := options.Logger(os.Stderr)
//	run.BridgeKlog(log, options.LogLevel)
//	ctx, stop := run.SignalContext(context.Background())
//	defer stop()
//	...
//	err = run.Tasks(ctx, log, tasks...)
//
// # Goroutines
//
// [Tasks] starts one goroutine per task and returns
// when all have ended. [Server.Run] owns the goroutines of its HTTP server. Nothing
// else here starts a goroutine.
package run
