// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// options are the command line.
type options struct {
	nodes, addresses []int
	trials           int
	faults, families []string
	load, loss       int
	soak             time.Duration
	flags            string
	dir              string
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	nodes := flag.String("nodes", "3", "`numbers` of nodes that announce; one more has the backend")
	addresses := flag.String("addresses", "1", "`numbers` of addresses of each family")
	flag.IntVar(&o.trials, "trials", 20, "`number` of trials of each fault")
	faults := flag.String("fault", "cut,kill,freeze", "faults, of cut (all links of the owner), kill (SIGKILL of its speaker), freeze (SIGSTOP of its processes), "+
		"partition (two halves do not hear each other), oneway (one of them does not hear the other), "+
		"roll (every speaker is replaced), drain (every node in turn)")
	families := flag.String("family", "4,6", "address families")
	flag.IntVar(&o.load, "load", 0, "`number` of busy loops beside")
	flag.IntVar(&o.loss, "loss", 0, "`percent` of frames lost on the links of all nodes")
	flag.DurationVar(&o.soak, "soak", 0, "`time` to do no harm instead, and to count takeovers that should not be")
	flag.StringVar(&o.flags, "speaker-flags", "", "flags to add to the speakers, separated by blanks")
	flag.StringVar(&o.dir, "dir", "", "`directory` for logs, which is kept")
	out := flag.String("out", "out/failover.json", "where to write the results")
	flag.Parse()
	o.faults, o.families = strings.Split(*faults, ","), strings.Split(*families, ",")
	var err error
	if o.nodes, err = numbers(*nodes); err == nil {
		o.addresses, err = numbers(*addresses)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	results, err := measure(ctx, o)
	if len(results) > 0 {
		err = errors.Join(err, print(results), write(*out, results))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		return 1
	}
	return 0
}

// numbers reads numbers with commas between them, and returns them in order.
func numbers(list string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want positive numbers with commas between them", list)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}

// result is one fault, many times.
type result struct {
	Name string `json:"name"`
	// What was measured over the trials, in Unit.
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	Max  float64 `json:"max"`
	Unit string  `json:"unit"`
	// Goal bounds the 95th percentile.
	Goal float64 `json:"goal"`
	Met  bool    `json:"met"`
	// MetalLB is what MetalLB took on a lab like this one.
	MetalLB string `json:"metallb"`
	Trials  int    `json:"trials"`
	// Late is how late the client itself was at worst, in milliseconds.
	Late float64 `json:"late"`
	// Seconds is what the trials took in all.
	Seconds float64 `json:"seconds"`
	// Note is what else is to be known.
	Note string `json:"note,omitempty"`
}

// judge fills in a result from what was measured.
func (r *result) judge(measured []float64, unit string, goal float64) {
	slices.Sort(measured)
	r.Trials, r.Unit, r.Goal = len(measured), unit, goal
	if len(measured) == 0 {
		return
	}
	r.P50, r.P95, r.Max = quantile(measured, 0.5), quantile(measured, 0.95), measured[len(measured)-1]
	r.Met = r.P95 <= goal
}

// quantile is the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// Goals, in milliseconds.
const (
	gapGoal     = 300 // of the longest time without an answer
	discordGoal = 500 // of two answering after a healing
)

// baseline is MetalLB's, measured on a lab of three nodes.
func baseline(fault string) string {
	switch fault {
	case "cut":
		return "5766-6188 ms"
	case "kill":
		return "5256-6504 ms"
	}
	return "not measured"
}

func print(results []result) error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MEASURED\tTRIALS\tP50\tP95\tMAX\tGOAL\tMET\tMETALLB\tCLIENT LATE\tTOOK\tNOTE")
	for _, r := range results {
		met := map[bool]string{true: "yes", false: "no"}[r.Met]
		fmt.Fprintf(tw, "%s\t%d\t%.0f %[4]s\t%.0[5]f %[4]s\t%.0[6]f %[4]s\tp95 <= %.0[7]f %[4]s\t%[8]s\t%[9]s\t%.0[10]f ms\t%.0[11]f s\t%[12]s\n",
			r.Name, r.Trials, r.P50, r.Unit, r.P95, r.Max, r.Goal, met, r.MetalLB, r.Late, r.Seconds, r.Note)
	}
	return tw.Flush()
}

func write(path string, results []result) error {
	body, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
