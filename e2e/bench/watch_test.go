// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWatchShares(t *testing.T) {
	got, err := watchShares(`
BenchmarkTogether/sessions=4/together=false-2   	       1	         0.5250 %core/session	         0.01672 allocs/packet
BenchmarkTogether/sessions=4/together=true-2    	       1	         0.2500 %core/session	         0.01380 allocs/packet
`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"false": 2.1, "true": 1}, got); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if _, err := watchShares("FAIL"); err == nil {
		t.Error("no figures are no error")
	}
}
