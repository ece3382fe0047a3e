// SPDX-License-Identifier: Apache-2.0

// Kubectl-herald is a plugin: with it in the PATH, kubectl herald answers questions about
// Herald.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/herald-lb/herald/cmd/kubectl-herald/internal/simulate"
	"github.com/herald-lb/herald/internal/run"
)

const usage = `kubectl herald answers questions about Herald, the load balancer of this cluster.

Usage: kubectl herald VERB [flags]

Verbs:
  simulate   tell what would become of Services' addresses if manifests were applied
  version    print the version of this plugin

kubectl herald VERB --help tells more.
`

func main() { os.Exit(start(os.Args[1:])) }

func start(args []string) int {
	if len(args) == 0 {
		args = []string{"help"}
	}
	switch verb := args[0]; verb {
	case "simulate":
		ctx, stop := run.SignalContext(context.Background())
		defer stop()
		streams := simulate.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		return simulate.Run(ctx, args[1:], streams, time.Now())
	case "version", "--version":
		fmt.Fprintf(os.Stdout, "kubectl-herald %s\n", run.Version())
		return run.ExitOK
	case "help", "-h", "-help", "--help":
		fmt.Fprint(os.Stdout, usage)
		return run.ExitOK
	default:
		fmt.Fprintf(os.Stderr, "kubectl herald: unknown verb %q (see kubectl herald help)\n", verb)
		return run.ExitUsage
	}
}
