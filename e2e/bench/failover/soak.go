// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
	var group sync.WaitGroup
	var probes []*probe.Probe
	for _, a := range addresses[:min(probed, len(addresses))] {
		p := probe.New(every, time.Second, w.connect(a))
		probes = append(probes, p)
		group.Go(func() { p.Run(watching) })
	}
	group.Wait()
	after, err := w.said()
	var gaps []float64
	for _, p := range probes {
		gaps = append(gaps, milliseconds(p.Longest().Length))
		r.Late = max(r.Late, milliseconds(p.Late()))
	}
	slices.Sort(gaps)
	r.Trials, r.P50, r.P95, r.Max = len(gaps), quantile(gaps, 0.5), quantile(gaps, 0.95), gaps[len(gaps)-1]
	happened := func(message string) int { return after[message] - before[message] }
	r.Note = fmt.Sprintf("%s: %d suspicions, %d takeovers, %d of them contradicted; %d doubts of oneself",
		d, happened(saysSuspected), happened(saysTaken), happened(saysAccused), happened(saysDoubt))
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
