// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// ipamAlone reports the benchmarks of package ipam: what an address costs when there
// is no API server in the way, beside two writes to maps of the language.
func ipamAlone(ctx context.Context, _ *environment) ([]result, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-benchtime=200ms",
		"-bench=^Benchmark(Map|Assign|Adopt|Release|Memory)$", "./internal/ipam")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", cmd, err, out)
	}
	return ipamResults(string(out))
}

// benchmark is one line of what go test prints, such as
// "BenchmarkAssign/v4-8/n=1000-2   300   812.5 ns/op", of which 2 processors are left out.
var benchmark = regexp.MustCompile(`^Benchmark(\w+)/([\w-]+)/n=(\d+)(?:-\d+)?\s+\d+\s+(.*)$`)

// ipamResults reads what go test prints about the benchmarks of package ipam.
func ipamResults(out string) ([]result, error) {
	limits := map[string]float64{} // by pool and size
	var results []result
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		m := benchmark.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		operation, suffix := strings.ToLower(m[1]), m[2]+"_"+m[3]
		value, unit, err := figure(m[4])
		if err != nil {
			return nil, fmt.Errorf("read benchmark %q: %w", lines.Text(), err)
		}
		switch operation {
		case "map":
			limits[suffix] = value
			continue
		case "memory":
			results = append(results, result{Name: "ipam_memory_" + suffix, Value: value, Unit: unit})
			continue
		}
		results = append(results, result{
			Name: "ipam_" + operation + "_" + suffix, Value: value, Unit: unit,
			LimitOf: "two map writes", Note: suffix,
		})
	}
	for i := range results {
		if r := &results[i]; r.LimitOf != "" {
			r.Limit, r.Note = limits[r.Note], ""
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("read benchmarks: there are none in %q", out)
	}
	return results, nil
}

// figure returns the figure among pairs of a value and a unit that is of interest.
func figure(pairs string) (value float64, unit string, err error) {
	fields := strings.Fields(pairs)
	for i := 0; i+1 < len(fields); i += 2 {
		unit = fields[i+1]
		if value, err = strconv.ParseFloat(fields[i], 64); err != nil {
			return 0, "", err
		}
		if unit == "bytes/address" {
			return value, unit, nil
		}
	}
	return value, strings.TrimSuffix(unit, "/op"), nil
}
