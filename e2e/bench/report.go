// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
)

// result is one measured figure.
type result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Limit is what the same machine does without Herald; 0 when there is none.
	Limit float64 `json:"limit,omitempty"`
	// LimitOf says what was measured as the limit.
	LimitOf string `json:"limitOf,omitempty"`
	// Ratio is Value over Limit; 0 without a limit.
	Ratio float64 `json:"ratio,omitempty"`
	// Goal is what Value, or Ratio where there is a limit, should reach; nil for a
	// figure that is only reported.
	Goal *goal `json:"goal,omitempty"`
	// Met is whether it did; nil without a goal.
	Met *bool `json:"met,omitempty"`
	// Note explains the figure in a few words.
	Note string `json:"note,omitempty"`
}

// goal is a bound on a figure.
type goal struct {
	// AtLeast is true when more is better.
	AtLeast bool    `json:"atLeast"`
	Bound   float64 `json:"bound"`
}

func atLeast(bound float64) *goal { return &goal{AtLeast: true, Bound: bound} }

func atMost(bound float64) *goal { return &goal{Bound: bound} }

func (g *goal) String() string {
	sign := "<="
	if g.AtLeast {
		sign = ">="
	}
	return sign + " " + number(g.Bound)
}

// judged returns r with its ratio and its verdict filled in.
func (r result) judged() result {
	judged := r.Value
	if r.Limit != 0 {
		r.Ratio = r.Value / r.Limit
		judged = r.Ratio
	}
	if r.Goal != nil {
		met := judged <= r.Goal.Bound
		if r.Goal.AtLeast {
			met = judged >= r.Goal.Bound
		}
		r.Met = &met
	}
	return r
}

// printTable writes results for people.
func printTable(w io.Writer, results []result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MEASURED\tVALUE\tLIMIT\tRATIO\tGOAL\tMET\tNOTE")
	for _, r := range results {
		limit, ratio, bound, met := "-", "-", "-", "-"
		if r.Limit != 0 {
			limit = number(r.Limit) + " " + r.Unit + " (" + r.LimitOf + ")"
			ratio = strconv.FormatFloat(r.Ratio, 'f', 2, 64)
		}
		if r.Goal != nil {
			bound, met = r.Goal.String(), "no"
			if r.Limit != 0 {
				bound += " x"
			}
			if *r.Met {
				met = "yes"
			}
		}
		fmt.Fprintf(tw, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n", r.Name, number(r.Value), r.Unit, limit, ratio, bound, met, r.Note)
	}
	return tw.Flush()
}

// number formats f with three significant figures, or whole when it is large.
func number(f float64) string {
	if f >= 1000 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// writeJSON writes results to path, making its folder.
func writeJSON(path string, results []result) error {
	body, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of results: %w", err)
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}
