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
	"slices"
	"syscall"
	"time"
)

// measurement is one thing to measure.
type measurement struct {
	name string
	run  func(context.Context, *environment) ([]result, error)
}

// site is a topology with what is measured in it, in that order, in an environment that
// is shared.
type site struct {
	// topology is empty if no environment is needed.
	topology string
	// manifests are what the cluster has from the beginning.
	manifests    string
	measurements []measurement
}

func sites() []site {
	return []site{
		{"", "", []measurement{{"ipam", ipamAlone}, {"decide", decideAlone}, {"watch", watchAlone}}}, // first, so that no environment is there yet
		{"e2e/topologies/bench.clab.yml", pool, measurements()},
		{"e2e/topologies/bench-bgp.clab.yml", routedPool, routedMeasurements()},
	}
}

func measurements() []measurement {
	return []measurement{
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
		{"ndp", ndp},
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
	other := programs()[flag.Arg(0)]
	if err != nil || flag.NArg() > 0 && other == nil {
		fmt.Fprintf(os.Stderr, "bench: -only %q: want one regular expression\n", *only)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if other != nil {
		return instead(ctx, other)
	}
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

// programs are what this program is, by its first argument, when it calls itself for
// something to compare with.
func programs() map[string]func(ctx context.Context, args []string) error {
	return map[string]func(context.Context, []string) error{aloneWord: gobgpAlone, readWord: bareList}
}

// instead runs another program and returns the exit status.
func instead(ctx context.Context, program func(context.Context, []string) error) int {
	if err := program(ctx, flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// measure runs the measurements that were picked and returns what they found, also
// when one of them failed.
func measure(ctx context.Context, pick *regexp.Regexp, pprof string) (results []result, err error) {
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	matched := false
	for _, s := range sites() {
		s.measurements = slices.DeleteFunc(s.measurements, func(m measurement) bool { return !pick.MatchString(m.name) })
		if len(s.measurements) == 0 {
			continue
		}
		matched = true
		found, err := s.measure(ctx, pprof, say)
		results = append(results, found...)
		if err != nil {
			return results, err
		}
	}
	if !matched {
		return nil, fmt.Errorf("no measurement matches %q", pick)
	}
	return results, nil
}

// measure runs the measurements of a site.
func (s site) measure(ctx context.Context, pprof string, say func(string, ...any)) (results []result, err error) {
	var e *environment
	if s.topology != "" {
		if e, err = newEnvironment(ctx, s.topology, s.manifests, say); err != nil {
			return nil, err
		}
		e.pprof = pprof
		defer func() { err = errors.Join(err, e.close()) }()
	}
	for _, m := range s.measurements {
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
