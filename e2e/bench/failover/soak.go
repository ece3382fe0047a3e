// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
)

// endure does no harm, for a while, and tells what happened all the same: what a client has
// noticed, and each takeover with what came before it.
func (w *world) endure(ctx context.Context, addresses int) (result, error) {
	r := result{
		Name:    fmt.Sprintf("falsetakeover_nodes%d_addresses%d_load%d_loss%d", len(w.announcers), addresses, w.load, w.loss),
		MetalLB: "not measured", Seconds: w.soak.Seconds(),
	}
	begin := time.Now()
	events, err := w.events(ctx)
	used, err2 := w.cpu()
	if err := errors.Join(err, err2); err != nil {
		return r, err
	}
	gaps, late := w.keepConnecting(ctx)
	eventsAfter, err := w.events(ctx)
	usedAfter, err2 := w.cpu()
	takeovers, err3 := w.takeovers(begin)
	if err := errors.Join(err, err2, err3); err != nil {
		return r, err
	}
	for _, t := range takeovers {
		w.say("%s", t.String())
	}
	happened := make(map[string]float64)
	for name, n := range eventsAfter {
		happened[name] = n - events[name]
	}
	r.judge(gaps, "ms", gapGoal)
	r.Late = milliseconds(late)
	// What a client notices of a machine that is late everywhere is no takeover's doing if
	// there was none.
	r.Met = count(happened, "accused") == 0 && (len(takeovers) == 0 || r.Max <= r.Goal)
	r.Note = fmt.Sprintf("%s; takeovers: %s; a speaker uses %.1f %% of a core", tell(happened), causes(takeovers), 100*(usedAfter-used)/w.soak.Seconds())
	return r, nil
}

// keepConnecting has the client connect to some addresses of each family all the while, and
// returns the longest time without an answer of each.
func (w *world) keepConnecting(ctx context.Context) (gaps []float64, late time.Duration) {
	watching, cancel := context.WithTimeout(ctx, w.soak)
	defer cancel()
	var group sync.WaitGroup
	var probes []*probe.Probe
	for _, family := range w.families {
		all := w.addresses[family]
		for _, a := range all[:min(probed, len(all))] {
			p := probe.New(every, time.Second, w.connect(a))
			probes = append(probes, p)
			group.Go(func() { p.Run(watching) })
		}
	}
	group.Wait()
	for _, p := range probes {
		gaps = append(gaps, milliseconds(p.Longest().Length))
		late = max(late, p.Late())
	}
	return gaps, late
}

// events are the counters of what speakers have come to think of each other, all speakers
// together.
func (w *world) events(ctx context.Context) (map[string]float64, error) {
	sum := make(map[string]float64)
	for _, n := range w.lab.Nodes() {
		metrics, err := w.scrape(ctx, n.Name())
		if err != nil {
			return nil, err
		}
		for name, value := range metrics {
			if labels, ok := strings.CutPrefix(name, "herald_vigil_events_total"); ok {
				sum[labels] += value
			}
		}
	}
	return sum, nil
}

// count adds up an event over its causes.
func count(events map[string]float64, event string) (sum float64) {
	for labels, n := range events {
		if strings.Contains(labels, `event="`+event+`"`) {
			sum += n
		}
	}
	return sum
}

// tell is what happened, without what did not.
func tell(happened map[string]float64) string {
	var words []string
	for _, labels := range slices.Sorted(maps.Keys(happened)) {
		if n := happened[labels]; n > 0 {
			words = append(words, fmt.Sprintf("%.0f %s", n, labels))
		}
	}
	if len(words) == 0 {
		return "no suspicions"
	}
	return strings.NewReplacer(`{cause="`, "", `",event="`, " ", `"}`, "").Replace(strings.Join(words, ", "))
}

// cpu returns the processor time that the speakers have used, in seconds: the mean.
func (w *world) cpu() (float64, error) {
	sum, n := 0.0, 0
	for _, node := range w.lab.Nodes() {
		pid, err := w.lab.PID(node.Name() + "/speaker")
		if err != nil {
			return 0, err
		}
		stat, err := statOf(pid)
		if err != nil {
			return 0, err
		}
		sum, n = sum+stat.CPUTime(), n+1
	}
	return sum / float64(n), nil
}
