// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// decideAlone measures what a speaker of a cluster of 5000 nodes and 100 000 addresses
// decides, on one processor and without a packet: the owner of one address that comes or
// goes, and of all when a node has died. Then it has 200 members gossip in one process,
// in simulated time.
func decideAlone(ctx context.Context, _ *environment) ([]result, error) {
	out, err := goTest(ctx, "-run=^$", "-cpu=1", "-benchtime=1s",
		"-bench=^BenchmarkOwnership$/^(change|death)$/^nodes=5000$/^services=100000$", "./speaker/internal/plan")
	if err != nil {
		return nil, err
	}
	results, err := decideResults(out)
	if err != nil {
		return nil, err
	}
	out, err = goTest(ctx, "-run=^TestManyMembers$", "-count=1", "-v", "./speaker/internal/gossip", "-most=200")
	if err != nil {
		return results, err
	}
	gossiping, err := gossipResults(out)
	return append(results, gossiping...), err
}

func goTest(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w\n%s", cmd, err, out)
	}
	return string(out), nil
}

var ownership = regexp.MustCompile(`(?m)^BenchmarkOwnership/(change|death)/\S+\s+\d+\s+([\d.]+) ns/op`)

// decideResults reads what go test prints about the benchmark of package plan.
func decideResults(out string) ([]result, error) {
	var results []result
	for _, m := range ownership.FindAllStringSubmatch(out, -1) {
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read benchmark %q: %w", m[0], err)
		}
		r := result{Name: "decide_" + m[1] + "_5000_100000", Value: ns / 1e3, Unit: "µs", Goal: atMost(50)}
		if m[1] == "death" {
			r.Value, r.Unit, r.Goal = ns/1e9, "s", atMost(1)
		}
		results = append(results, r)
	}
	if len(results) != 2 {
		return nil, fmt.Errorf("read benchmarks of ownership: %d of 2 found in\n%s", len(results), out)
	}
	return results, nil
}

var gossiped = regexp.MustCompile(`\| (\d+) members (.*)\|`)

// gossipResults reads the table that the test of package gossip logs.
func gossipResults(out string) ([]result, error) {
	var results []result
	for _, m := range gossiped.FindAllStringSubmatch(out, -1) {
		columns := strings.Split(strings.Trim(m[2], "| "), " | ")
		last := columns[len(columns)-1]
		seconds, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(last, "all "), "s"), 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", m[0], err)
		}
		results = append(results, result{
			Name: "gossip_death_known_" + m[1], Value: seconds, Unit: "s",
			Note: "simulated time; " + strings.Join(columns[:len(columns)-1], ", "),
		})
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("read what members gossip: nothing found in\n%s", out)
	}
	return results, nil
}
