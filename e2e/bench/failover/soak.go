// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
)

// What speakers log when they suspect each other.
const (
	saysSuspected = "speaker is silent, asking the LAN"
	saysTaken     = "nobody answers in its place, taking over"
	saysAccused   = "others have taken over from this node, which is alive"
	saysDoubt     = "this process was late, it doubts itself"
)

// soak does no harm, for a while, and tells what happened all the same.
func (w *world) soak(ctx context.Context, family string, addresses []netip.Addr, d time.Duration) (result, error) {
	r := result{Name: fmt.Sprintf("falsetakeover_ipv%s_nodes%d_addresses%d_load%d_loss%d", family, w.nodes, w.addresses, w.load, w.loss), MetalLB: "not measured"}
	watching, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	before, err := w.said()
	if err != nil {
		return r, err
	}
	used, err := w.cpu()
	if err != nil {
		return r, err
	}
	var group sync.WaitGroup
	var probes []*probe.Probe
	for _, a := range addresses[:min(probed, len(addresses))] {
		p := probe.New(every, time.Second, w.connect(a))
		probes = append(probes, p)
		group.Go(func() { p.Run(watching) })
	}
	group.Wait()
	after, err := w.said()
	if err != nil {
		return r, err
	}
	usedAfter, err := w.cpu()
	var gaps []float64
	for _, p := range probes {
		gaps = append(gaps, milliseconds(p.Longest().Length))
		r.Late = max(r.Late, milliseconds(p.Late()))
	}
	slices.Sort(gaps)
	r.Trials, r.P50, r.P95, r.Max = len(gaps), quantile(gaps, 0.5), quantile(gaps, 0.95), gaps[len(gaps)-1]
	happened := func(message string) int { return after[message] - before[message] }
	r.Note = fmt.Sprintf("%s: %d suspicions, %d takeovers, %d of them contradicted; %d doubts of oneself; a speaker uses %.1f %% of a core",
		d, happened(saysSuspected), happened(saysTaken), happened(saysAccused), happened(saysDoubt), 100*(usedAfter-used)/d.Seconds())
	r.Met = happened(saysAccused) == 0 && r.Max <= goal
	return r, err
}

// said counts the records of all speakers, by what they say.
func (w *world) said() (map[string]int, error) {
	paths, err := filepath.Glob(filepath.Join(w.lab.Dir(), "logs", "pods", heraldNS+"_speaker*.log"))
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			var record struct {
				Message string `json:"msg"`
			}
			if json.Unmarshal(lines.Bytes(), &record) == nil {
				counts[record.Message]++
			}
		}
	}
	return counts, nil
}

// cpu returns the processor time that the speakers have used, in seconds: the mean.
func (w *world) cpu() (float64, error) {
	sum, n := 0.0, 0
	for _, node := range w.lab.Nodes() {
		pid, err := w.lab.PID(node.Name() + "/speaker")
		if err != nil {
			return 0, err
		}
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return 0, err
		}
		// The second field is the program's name in parentheses and may contain blanks.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, err1 := strconv.ParseFloat(fields[11], 64)
		system, err2 := strconv.ParseFloat(fields[12], 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		const ticks = 100 // USER_HZ is 100 on every Linux architecture Go supports
		sum, n = sum+(user+system)/ticks, n+1
	}
	return sum / float64(n), nil
}
