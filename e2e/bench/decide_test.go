// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecideResults(t *testing.T) {
	change, err := changeResults(`
BenchmarkOwnership/change/nodes=5000/services=100000         	     100	     11184 ns/op	         1.100 verdicts/op
`)
	if err != nil {
		t.Fatal(err)
	}
	death, err := deathResults(`
BenchmarkOwnership/death/nodes=5000/services=100000          	      10	 900000000 ns/op	 780000000 cpu-ns/op	         1.000 load/limit	         1.250 moved/share
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{Name: "decide_change_5000_100000", Value: 11.184, Unit: "µs", Goal: atMost(50), Note: "1.10 addresses decided"},
		{Name: "decide_death_5000_100000", Value: 0.78, Unit: "s", Goal: atMost(1), Note: "of one processor; 0.90 s by the clock"},
		{Name: "decide_moved_5000_100000", Value: 1.25, Unit: "shares", Goal: atMost(1.5), Note: "addresses that a death moves, in shares of the dead"},
		{Name: "decide_spread_5000_100000", Value: 1, Unit: "of the limit", Goal: atMost(1), Note: "the most that a node owns, of 1.25 times the mean, rounded up"},
	}
	if diff := cmp.Diff(want, append(change, death...)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for what, read := range map[string]func(string) ([]result, error){"change": changeResults, "death": deathResults} {
		for _, out := range []string{"FAIL", "BenchmarkOwnership/" + what + "/x 100 5 ns/op\n"} {
			if _, err := read(out); err == nil {
				t.Errorf("no figures of a %s in %q are no error", what, out)
			}
		}
	}
}

func TestGossipResults(t *testing.T) {
	got, err := gossipResults("    x.go:1: | 50 members | all met 10ms | all know a claim 190ms | first notices a death 1.62s | all 1.7s |\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{Name: "gossip_met_50", Value: 0.01, Unit: "s", Goal: atMost(20), Note: "simulated time"},
		{Name: "gossip_claim_known_50", Value: 0.19, Unit: "s", Goal: atMost(2), Note: "simulated time"},
		{Name: "gossip_death_noticed_50", Value: 1.62, Unit: "s", Note: "simulated time"},
		{Name: "gossip_death_known_50", Value: 1.7, Unit: "s", Goal: atMost(10), Note: "simulated time"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if _, err := gossipResults("FAIL"); err == nil {
		t.Error("no figures are no error")
	}
}
