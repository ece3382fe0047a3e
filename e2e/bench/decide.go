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
	"time"
)

// decideAlone measures what a speaker of a cluster of 5000 nodes and 100 000 addresses
// decides, on one processor and without a packet: the owner of one address that comes or
// goes, and of all when a node has died. Then it has 200 members gossip in one process,
// in simulated time.
func decideAlone(ctx context.Context, _ *environment) ([]result, error) {
	var results []result
	for _, m := range []struct {
		read func(string) ([]result, error)
		args []string
	}{
		{changeResults, ownershipOf("change", "1s")},
		{deathResults, ownershipOf("death", "10x")},
		{gossipResults, []string{"-run=^TestManyMembers$", "-count=1", "-v", "./speaker/internal/gossip", "-most=200"}},
	} {
		out, err := goTest(ctx, m.args...)
		if err != nil {
			return results, err
		}
		found, err := m.read(out)
		if results = append(results, found...); err != nil {
			return results, err
		}
	}
	return results, nil
}

// ownershipOf is how go test is called for one benchmark of package plan.
func ownershipOf(what, times string) []string {
	return []string{
		"-run=^$", "-cpu=1", "-benchtime=" + times,
		"-bench=^BenchmarkOwnership$/^" + what + "$/^nodes=5000$/^services=100000$", "./speaker/internal/plan",
	}
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

var measured = regexp.MustCompile(`([\d.]+) (\S+)`)

// figures returns what go test has printed of a benchmark of package plan, by unit. All of
// units have to be there.
func figures(out, what string, units ...string) (map[string]float64, error) {
	_, line, found := strings.Cut(out, "BenchmarkOwnership/"+what+"/")
	if !found {
		return nil, fmt.Errorf("read the benchmark of a %s: nothing found in\n%s", what, out)
	}
	line, _, _ = strings.Cut(line, "\n")
	by := make(map[string]float64)
	for _, m := range measured.FindAllStringSubmatch(line, -1) {
		value, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return nil, fmt.Errorf("read benchmark %q: %w", line, err)
		}
		by[m[2]] = value
	}
	for _, unit := range units {
		if _, ok := by[unit]; !ok {
			return nil, fmt.Errorf("read benchmark %q: it tells no %s", line, unit)
		}
	}
	return by, nil
}

// changeResults reads what one changed Service costs.
func changeResults(out string) ([]result, error) {
	by, err := figures(out, "change", "ns/op", "verdicts/op")
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: "decide_change_5000_100000", Value: by["ns/op"] / 1e3, Unit: "µs", Goal: atMost(50),
		Note: fmt.Sprintf("%.2f addresses decided", by["verdicts/op"]),
	}}, nil
}

// deathResults reads what the death of a node costs, what it moves, and how evenly
// addresses were spread.
func deathResults(out string) ([]result, error) {
	by, err := figures(out, "death", "ns/op", "cpu-ns/op", "moved/share", "load/limit")
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: "decide_death_5000_100000", Value: by["cpu-ns/op"] / 1e9, Unit: "s", Goal: atMost(1),
		Note: fmt.Sprintf("of one processor; %.2f s by the clock", by["ns/op"]/1e9),
	}, {
		Name: "decide_moved_5000_100000", Value: by["moved/share"], Unit: "shares", Goal: atMost(1.5),
		Note: "addresses that a death moves, in shares of the dead",
	}, {
		Name: "decide_spread_5000_100000", Value: by["load/limit"], Unit: "of the limit", Goal: atMost(1),
		Note: "the most that a node owns, of 1.25 times the mean, rounded up",
	}}, nil
}

var gossiped = regexp.MustCompile(`\| (\d+) members \| all met (\S+) \| all know a claim (\S+) \| first notices a death (\S+) \| all (\S+) \|`)

// gossipResults reads the table that the test of package gossip logs, and judges by what
// that test allows.
func gossipResults(out string) ([]result, error) {
	columns := []struct {
		name string
		goal *goal
	}{{"met", atMost(20)}, {"claim_known", atMost(2)}, {"death_noticed", nil}, {"death_known", atMost(10)}}
	var results []result
	for _, m := range gossiped.FindAllStringSubmatch(out, -1) {
		for i, c := range columns {
			took, err := time.ParseDuration(m[2+i])
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", m[0], err)
			}
			results = append(results, result{
				Name: "gossip_" + c.name + "_" + m[1], Value: took.Seconds(), Unit: "s", Goal: c.goal, Note: "simulated time",
			})
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("read what members gossip: nothing found in\n%s", out)
	}
	return results, nil
}
