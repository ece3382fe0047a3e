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

func main() {
	os.Exit(run())
}

func run() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "demo: needs root, for network namespaces")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{tell: &narrator{out: os.Stdout}, keep: os.Getenv("KEEP") != ""}
	err := d.play(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(ctx.Err(), context.Canceled):
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; nothing is left behind")
		return 130
	default:
		d.tell.endLine()
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
}
