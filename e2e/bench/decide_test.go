// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecideResults(t *testing.T) {
	got, err := decideResults(`
BenchmarkOwnership/change/nodes=5000/services=100000         	     100	     11184 ns/op	         1.100 verdicts/op
BenchmarkOwnership/death/nodes=5000/services=100000          	       1	 780000000 ns/op
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{Name: "decide_change_5000_100000", Value: 11.184, Unit: "µs", Goal: atMost(50)},
		{Name: "decide_death_5000_100000", Value: 0.78, Unit: "s", Goal: atMost(1)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if _, err := decideResults("FAIL"); err == nil {
		t.Error("no figures are no error")
	}
}

func TestGossipResults(t *testing.T) {
	got, err := gossipResults("    x.go:1: | 50 members | all met 10ms | all know a claim 190ms | first notices a death 1.62s | all 1.7s |\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []result{{
		Name: "gossip_death_known_50", Value: 1.7, Unit: "s",
		Note: "simulated time; all met 10ms, all know a claim 190ms, first notices a death 1.62s",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}
