// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

// A node that drains goes on until it has handed over, also with an address that Services
// share which want traffic at their endpoints only; no other node counts on it.
func TestDrain(t *testing.T) {
	t.Parallel()
	a := netip.MustParseAddr("192.0.2.1")
	config := &lb.Config{
		Pools: []lb.Pool{{Name: "p", Ranges: []lb.Range{mustRange("192.0.2.0/24")}}},
		Peers: []lb.Peer{{Name: "tor", MyASN: 1, ASN: 2, Address: netip.MustParseAddr("192.0.2.254")}},
		BGPAdvertisements: []lb.BGPAdvertisement{
			{Name: "all", Pools: setOf([]string{"p"}), Aggregation4: 32, Aggregation6: 128},
		},
	}
	shared := func(endpoints ...lb.NodeName) []plan.Sharer {
		sharers := make([]plan.Sharer, 2)
		for i, name := range []string{"old", "young"} {
			nodes := make(map[lb.NodeName]struct{})
			for _, n := range endpoints {
				nodes[n] = struct{}{}
			}
			sharers[i] = plan.Sharer{
				Service: &lb.Service{
					Name: lb.ServiceName{Namespace: "default", Name: name}, Addresses: []netip.Addr{a}, Local: true,
					Created: time.Unix(int64(i), 0),
				},
				Endpoints: lb.Endpoints{Nodes: nodes},
			}
		}
		return sharers
	}
	reason := func(self lb.NodeName, drained bool, sharers []plan.Sharer) lb.Reason {
		nodes := []lb.Node{{Name: "going", Draining: true}, {Name: "staying"}}
		in := route.Input{Config: config, Nodes: nodes, Drained: drained, Node: &nodes[0]}
		if self == "staying" {
			in.Node = &nodes[1]
		}
		return route.NewView(in).Decide(a, sharers).Decisions[0].Reason
	}
	both := shared("going", "staying")
	for name, got := range map[string][2]lb.Reason{
		"while it drains":         {reason("going", false, both), lb.ReasonAnnounced},
		"alone while it drains":   {reason("going", false, shared("going")), lb.ReasonAnnounced},
		"when it is over":         {reason("going", true, both), lb.ReasonNodeExcluded},
		"the other one":           {reason("staying", false, both), lb.ReasonAnnounced},
		"without others, it over": {reason("going", true, shared("going")), lb.ReasonNodeExcluded},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want %s", name, got[0], got[1])
		}
	}
}
