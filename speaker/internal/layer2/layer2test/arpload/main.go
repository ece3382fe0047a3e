// SPDX-License-Identifier: Apache-2.0

// Command arpload measures how fast ARP requests are answered, from the client's
// side, and prints the result as one line of JSON.
//
//	arpload -interface eth0 -source 10.0.0.9 -first 10.1.0.0 -count 10000 -window 32 -duration 3s
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/herald-lb/herald/speaker/internal/layer2/layer2test"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "arpload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var l layer2test.Load
	flags := flag.NewFlagSet("arpload", flag.ExitOnError)
	flags.StringVar(&l.Interface, "interface", "eth0", "interface to send on")
	flags.TextVar(&l.Source, "source", netip.Addr{}, "the client's own IPv4 address")
	flags.TextVar(&l.First, "first", netip.Addr{}, "first IPv4 address to ask for")
	flags.IntVar(&l.Count, "count", 1, "number of addresses to ask for, from the first on")
	flags.IntVar(&l.Window, "window", 1, "number of requests outstanding")
	flags.DurationVar(&l.Duration, "duration", 3*time.Second, "how long to measure")
	flags.BoolVar(&l.Sleep, "sleep", false, "sleep while waiting for answers, as most clients do")
	if err := flags.Parse(args); err != nil {
		return err
	}
	result, err := l.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
