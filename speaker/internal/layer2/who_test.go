// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// A station that has an address says so, whatever is announced here.
func TestWhoHasAnAddress(t *testing.T) {
	a, _, client := wired(t)
	client.AddAddress(t, "eth0", "192.0.2.150/24")
	client.AddAddress(t, "eth0", "2001:db8::150/64")
	taken4, taken6 := netip.MustParseAddr("192.0.2.150"), netip.MustParseAddr("2001:db8::150")
	linktest.Await(t, func() bool { // the client's address may be tentative, and ours too
		return len(a.Who(t.Context(), []layer2.Announcement{{Address: taken6}})) == 1
	}, func() { t.Error("nobody answers for", taken6) })

	got := a.Who(t.Context(), []layer2.Announcement{{Address: taken4}, {Address: taken6}, {Address: lb4}, {Address: lb6}})
	mac := client.MAC(t, "eth0")
	want := map[netip.Addr]layer2.Claim{
		taken4: {Address: taken4, Interface: "host0", MAC: mac},
		taken6: {Address: taken6, Interface: "host0", MAC: mac},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("stations (-want +got):\n%s", diff)
	}
	elsewhere := []layer2.Announcement{{Address: taken4, Interfaces: []string{"elsewhere"}}}
	if got := a.Who(t.Context(), elsewhere); len(got) != 0 {
		t.Errorf("on an interface that is not there: %v", got)
	}
}
