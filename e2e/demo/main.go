// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// Exit statuses beside 0.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func run() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "demo: needs root, for network namespaces")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var err error
	if keep := os.Getenv("KEEP") != ""; keep && os.Getenv(envTold) == "" {
		var status int
		if status, err = playInBackground(ctx); err == nil {
			return status
		}
	} else {
		err = play(ctx, os.Stdout, keep)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(ctx.Err(), context.Canceled):
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; nothing is left behind")
		return exitInterrupted
	default:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		return exitFailure
	}
}
