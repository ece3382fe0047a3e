// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// sessionsOfSpeaker is how many BFD sessions a speaker has with other speakers, in a
// cluster of six nodes as in one of a hundred.
const sessionsOfSpeaker = 4

// watchAlone measures what it costs a speaker to watch others, in a process that does
// nothing else, beside the same sessions whose packets do not wait for each other.
func watchAlone(ctx context.Context, _ *environment) ([]result, error) {
	out, err := goTest(ctx, "-run=^$", "-benchtime=1x", "-bench=^BenchmarkTogether$", "./speaker/internal/bfd")
	if err != nil {
		return nil, err
	}
	share, err := watchShares(out)
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: "watch_cpu", Value: share["true"], Unit: "% of a core", Goal: atMost(2),
		Note: fmt.Sprintf("%d BFD sessions of 50 ms x 3, whatever the number of nodes; %.1f %% if each packet had its own time", sessionsOfSpeaker, share["false"]),
	}}, nil
}

var together = regexp.MustCompile(`(?m)^BenchmarkTogether/sessions=4/together=(true|false)\S*\s.*?([\d.]+) %core/session`)

// watchShares reads what go test prints about the benchmark of package bfd: the part of
// a core for all sessions, in percent, by whether their packets go together.
func watchShares(out string) (map[string]float64, error) {
	shares := make(map[string]float64)
	for _, m := range together.FindAllStringSubmatch(out, -1) {
		percent, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read benchmark %q: %w", m[0], err)
		}
		shares[m[1]] = percent * sessionsOfSpeaker
	}
	if len(shares) != 2 {
		return nil, fmt.Errorf("read benchmarks of sessions: %d of 2 found in\n%s", len(shares), out)
	}
	return shares, nil
}
