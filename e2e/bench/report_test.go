// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestJudged(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    result
		ratio float64
		met   string
	}{
		{"value under its bound", result{Value: 70, Goal: atMost(80)}, 0, "yes"},
		{"value over its bound", result{Value: 81, Goal: atMost(80)}, 0, "no"},
		{"ratio reaches its bound", result{Value: 400, Limit: 500, Goal: atLeast(0.8)}, 0.8, "yes"},
		{"ratio misses its bound", result{Value: 399, Limit: 500, Goal: atLeast(0.8)}, 0.798, "no"},
		{"latency over twice the limit", result{Value: 31, Limit: 10, Goal: atMost(3)}, 3.1, "no"},
		{"only reported", result{Value: 5}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.in.judged()
			met := ""
			if got.Met != nil {
				met = map[bool]string{true: "yes", false: "no"}[*got.Met]
			}
			if got.Ratio != tt.ratio || met != tt.met {
				t.Errorf("ratio %v met %q, want %v %q", got.Ratio, met, tt.ratio, tt.met)
			}
		})
	}
}

func TestPrintTable(t *testing.T) {
	var b strings.Builder
	err := printTable(&b, []result{
		result{Name: "assign", Value: 412, Unit: "/s", Limit: 500, LimitOf: "bare patches", Goal: atLeast(0.8)}.judged(),
		result{Name: "rss", Value: 91.25, Unit: "MB", Goal: atMost(80)}.judged(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"412 /s", "500 /s (bare patches)", "0.82", ">= 0.8 x", "yes", "91.2 MB", "<= 80", "no"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, b.String())
		}
	}
}
