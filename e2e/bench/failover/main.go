// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// options are the command line.
type options struct {
	nodes, addresses, trials int
	faults, families         []string
	load                     int
	loss                     int
	soak                     time.Duration
	flags                    string
	dir                      string
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	var faults, families string
	flag.IntVar(&o.nodes, "nodes", 3, "`number` of nodes that announce; one more has the backend")
	flag.IntVar(&o.addresses, "addresses", 1, "`number` of addresses")
	flag.IntVar(&o.trials, "trials", 20, "`number` of trials of each fault")
	flag.StringVar(&faults, "fault", "cut,kill,freeze", "faults, of cut (all links of the owner), kill (SIGKILL of its speaker), freeze (SIGSTOP of its processes)")
	flag.StringVar(&families, "family", "4,6", "address families")
	flag.IntVar(&o.load, "load", 0, "`number` of busy loops beside")
	flag.IntVar(&o.loss, "loss", 0, "`percent` of frames lost on the links of all nodes")
	flag.DurationVar(&o.soak, "soak", 0, "`time` to do no harm instead, and to count takeovers that should not be")
	flag.StringVar(&o.flags, "speaker-flags", "", "flags to add to the speakers, separated by blanks")
	flag.StringVar(&o.dir, "dir", "", "`directory` for logs, which is kept")
	out := flag.String("out", "out/failover.json", "where to write the results")
	flag.Parse()
	o.faults, o.families = strings.Split(faults, ","), strings.Split(families, ",")
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

// result is one fault, many times.
type result struct {
	Name string `json:"name"`
	// The longest time between two answers, in milliseconds, over the trials.
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
	// MetalLB is what MetalLB took on a lab like this one, in milliseconds.
	MetalLB string `json:"metallb"`
	Trials  int    `json:"trials"`
	// Late is how late the client itself was at worst, in milliseconds.
	Late float64 `json:"late"`
	Met  bool    `json:"met"`
	// Note is what else is to be known.
	Note string `json:"note,omitempty"`
}

// goal bounds the 95th percentile, in milliseconds.
const goal = 300

// baseline is MetalLB's, measured on a lab of three nodes.
func baseline(fault string) string {
	switch fault {
	case "cut":
		return "5766-6188"
	case "kill":
		return "5256-6504"
	}
	return "not measured"
}

func print(results []result) error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MEASURED\tTRIALS\tP50\tP95\tMAX\tGOAL\tMET\tMETALLB\tCLIENT LATE\tNOTE")
	for _, r := range results {
		met := map[bool]string{true: "yes", false: "no"}[r.Met]
		fmt.Fprintf(tw, "%s\t%d\t%.0f ms\t%.0f ms\t%.0f ms\tp95 <= %d ms\t%s\t%s ms\t%.0f ms\t%s\n",
			r.Name, r.Trials, r.P50, r.P95, r.Max, goal, met, r.MetalLB, r.Late, r.Note)
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
