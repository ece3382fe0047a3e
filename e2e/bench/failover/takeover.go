// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What speakers log when they suspect each other.
const (
	saysTaken    = "nobody answers in its place, taking over"
	saysReturned = "speaker is back"
	saysDoubt    = "this process was late, it doubts itself"
)

// record is one line of a speaker's log.
type record struct {
	Time    time.Time `json:"time"`
	Message string    `json:"msg"`
	Node    string    `json:"node"`
	Member  string    `json:"member"`
	Cause   string    `json:"cause"`
}

// takeover is a speaker taking over from another that nobody has harmed.
type takeover struct {
	record
	// starved is how long before or after it the other noticed that its process had
	// been late, nil if it did not.
	starved *time.Duration
	// away is how long the other was gone; zero: to the end.
	away time.Duration
}

// String is the takeover with its explanation.
func (t *takeover) String() string {
	why := "its process was not late: packets were lost"
	if t.starved != nil {
		why = fmt.Sprintf("its process was late, as it noticed %s after that", t.starved.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s: %s took over from %s for %s (suspicion by %s): %s",
		t.Time.Format("15:04:05.000"), t.Node, t.Member, t.away.Round(time.Millisecond), t.Cause, why)
}

// causes counts takeovers by their explanation.
func causes(takeovers []takeover) string {
	counts := make(map[string]int)
	for _, t := range takeovers {
		if t.starved != nil {
			counts["from one that was starved"]++
		} else {
			counts["from one that was not heard"]++
		}
	}
	var words []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[why], why))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// takeovers returns all since a time, in order, each with what explains it.
func (w *world) takeovers(since time.Time) ([]takeover, error) {
	records, err := w.records(since)
	if err != nil {
		return nil, err
	}
	var found []takeover
	for i, r := range records {
		if r.Message == saysTaken {
			found = append(found, explainTakeover(r, records[:i], records[i+1:]))
		}
	}
	return found, nil
}

// explainTakeover looks for what a speaker that was replaced says of itself, and for its
// return.
func explainTakeover(r record, before, after []record) takeover {
	const near = 2 * time.Second // a process that was stopped for longer is not merely starved
	t := takeover{record: r}
	for _, x := range append(slices.Clone(before), after...) {
		apart := x.Time.Sub(r.Time)
		if x.Message == saysDoubt && x.Node == r.Member && x.Member == r.Member && apart.Abs() < near &&
			(t.starved == nil || apart.Abs() < t.starved.Abs()) {
			t.starved = &apart
		}
	}
	for _, x := range after {
		if x.Message == saysReturned && x.Node == r.Node && x.Member == r.Member {
			t.away = x.Time.Sub(r.Time)
			break
		}
	}
	return t
}

// records returns what all speakers have logged since a time, in order.
func (w *world) records(since time.Time) ([]record, error) {
	paths, err := filepath.Glob(filepath.Join(w.lab.Dir(), "logs", "pods", heraldNS+"_speaker*.log"))
	if err != nil {
		return nil, err
	}
	var records []record
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			var r record
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Time.After(since) {
				records = append(records, r)
			}
		}
	}
	slices.SortFunc(records, func(a, b record) int { return a.Time.Compare(b.Time) })
	return records, nil
}
