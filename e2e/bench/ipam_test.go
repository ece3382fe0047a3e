// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIPAMResults(t *testing.T) {
	got, err := ipamResults(`goos: linux
BenchmarkAssign/v4-8/n=1000-2         	     136	      800.5 ns/op
BenchmarkMap/v4-8/n=1000-2            	    1363	       200.0 ns/op
BenchmarkMemory/v4-8/n=1000           	      27	   7559630 ns/op	       558.3 bytes/address
PASS
`)
	want := []result{
		{Name: "ipam_assign_v4-8_1000", Value: 800.5, Unit: "ns", Limit: 200, LimitOf: "two map writes"},
		{Name: "ipam_memory_v4-8_1000", Value: 558.3, Unit: "bytes/address"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := ipamResults("FAIL\n"); err == nil {
		t.Error("an answer without benchmarks is accepted")
	}
}
