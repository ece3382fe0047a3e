// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

func TestCoverage(t *testing.T) {
	t.Parallel()
	rangeOf := func(s string) []lb.Range {
		r, err := lb.ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		return []lb.Range{r}
	}
	of := func(names ...string) map[string]struct{} {
		set := map[string]struct{}{}
		for _, n := range names {
			set[n] = struct{}{}
		}
		return set
	}
	web := []labels.Selector{labels.SelectorFromSet(labels.Set{"app": "web"})}
	config := &lb.Config{
		Pools: []lb.Pool{
			{Name: "l2", Ranges: rangeOf("192.0.2.0/28")},
			{Name: "bgp", Ranges: rangeOf("192.0.2.16/28")},
			{Name: "bgp6", Ranges: rangeOf("2001:db8::/64")},
			{Name: "quiet", Ranges: rangeOf("192.0.2.32/28")},
			{Name: "none", Ranges: rangeOf("192.0.2.48/28")},
			{Name: "broken", Broken: true},
		},
		L2Advertisements: []lb.L2Advertisement{{Name: "web", Pools: of("l2", "broken"), ServiceSelectors: web}},
		BGPAdvertisements: []lb.BGPAdvertisement{
			{Name: "all", Pools: of("bgp", "bgp6"), Peers: of("tor")},
			{Name: "nobody", Pools: of("quiet"), Peers: of()},
		},
		Peers: []lb.Peer{{Name: "tor", Address: netip.MustParseAddr("198.51.100.1")}},
	}
	coverage := lb.NewCoverage(config, []lb.Problem{
		{Object: lb.Object{Kind: "L2Advertisement", Name: "typo"}, Fatal: true},
		{Object: lb.Object{Kind: "IPAddressPool", Name: "broken"}, Fatal: true},
		{Object: lb.Object{Kind: "BGPAdvertisement", Name: "all"}},
	})
	for _, tt := range []struct {
		name, app, addresses, from string
		want                       lb.Reason
		says                       []string
	}{
		{"Layer 2", "web", "192.0.2.1", "l2", lb.ReasonAnnounced, nil},
		{"another Service", "db", "192.0.2.1", "l2", lb.ReasonNoAdvertisement, []string{"192.0.2.1 from pool l2", "serviceSelectors of L2Advertisement web", "L2Advertisement typo"}},
		{"BGP", "db", "192.0.2.17", "bgp", lb.ReasonAnnounced, nil},
		{"no peer carries the family", "db", "2001:db8::1", "bgp6", lb.ReasonNoPeer, []string{"2001:db8::1 from pool bgp6", "IPv6", "BGPAdvertisement all"}},
		{"nobody is told", "db", "192.0.2.33", "quiet", lb.ReasonNoPeer, []string{"BGPAdvertisement nobody"}},
		{"no advertisement", "db", "192.0.2.49", "none", lb.ReasonNoAdvertisement, []string{"192.0.2.49 from pool none"}},
		{"a broken pool is covered", "web", "203.0.113.1", "broken", lb.ReasonAnnounced, nil},
		{"no pool, for the moment", "web", "203.0.113.1", "gone", lb.ReasonAnnounced, nil},
		{"one of two", "db", "192.0.2.17,2001:db8::1", "bgp,bgp6", lb.ReasonNoPeer, []string{"2001:db8::1"}},
		{"both, from a broken pool and none", "db", "203.0.113.1,192.0.2.49", "broken,none", lb.ReasonNoAdvertisement, []string{"pool broken", "; no L2Advertisement or BGPAdvertisement covers 192.0.2.49"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var addresses []netip.Addr
			for a := range strings.SplitSeq(tt.addresses, ",") {
				addresses = append(addresses, netip.MustParseAddr(a))
			}
			got, message := coverage.Gap(labels.Set{"app": tt.app}, addresses, tt.from)
			if got != tt.want || (message == "") != (tt.want == lb.ReasonAnnounced) {
				t.Errorf("Gap is %s, %q; want %s", got, message, tt.want)
			}
			for _, word := range tt.says {
				if !strings.Contains(message, word) {
					t.Errorf("the message %q does not say %q", message, word)
				}
			}
		})
	}
}
