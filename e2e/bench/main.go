// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// measurement is one thing to measure. Measurements run in the order of the list and
// share an environment.
type measurement struct {
	name string
	run  func(context.Context, *environment) ([]result, error)
}

// alone is the name of the measurement that needs no environment. It comes first, so
// that none is there yet.
const alone = "ipam"

func measurements() []measurement {
	return []measurement{
		{alone, ipamAlone},
		{"assign_1000", assignRate(small)},
		{"event_1000", oneEvent(small)},
		{"create", createRate},
		{"assign_10000", assignRate(large)},
		{"restart_10000", restart},
		{"controller_rss_10000", controllerMemory},
		{"speaker_rss_10000", speakerMemory},
		{"arp", arp},
		{"arp_others", arpOthers},
		{"assign_dual_10000", assignDual(large)},
		{"event_10000", oneEvent(large)},
		{"assign_50000", assignRate(huge)},
		{"event_50000", oneEvent(huge)},
	}
}

func main() {
	os.Exit(run())
}

// run returns the exit status, so that deferred clean-up happens before the end.
func run() int {
	only := flag.String("only", "", "measure what this regular expression matches; default everything")
	out := flag.String("out", "out/bench.json", "where to write the results")
	pprof := flag.String("pprof", "", "`host:port` where the controllers that are measured serve their profiles; default nowhere")
	flag.Parse()
	pick, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: -only %q: want one regular expression\n", *only)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	results, err := measure(ctx, pick, *pprof)
	if len(results) > 0 {
		err = errors.Join(err, printTable(os.Stdout, results), writeJSON(*out, results))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// measure runs the measurements that were picked and returns what they found, also
// when one of them failed.
func measure(ctx context.Context, pick *regexp.Regexp, pprof string) (results []result, err error) {
	var picked []measurement
	for _, m := range measurements() {
		if pick.MatchString(m.name) {
			picked = append(picked, m)
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("no measurement matches %q", pick)
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	var e *environment
	for _, m := range picked {
		if e == nil && m.name != alone {
			if e, err = newEnvironment(ctx, say); err != nil {
				return results, err
			}
			e.pprof = pprof
			defer func() { err = errors.Join(err, e.close()) }()
		}
		say("measuring %s", m.name)
		found, err := m.run(ctx, e)
		for _, r := range found {
			results = append(results, r.judged())
		}
		if err != nil {
			return results, fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return results, nil
}
