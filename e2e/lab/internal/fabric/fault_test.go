// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// unbuilt is a fabric of which only the plan exists.
func unbuilt() *Fabric {
	f := New(&clab.Topology{}, "x-")
	for name, kind := range map[string]clab.Kind{
		ControlPlane: 0, "lan": clab.Switch, "n1": clab.Member, "n2": clab.Member, "c": clab.Client,
	} {
		f.hosts[name] = &Host{Name: name, Kind: kind, Netns: &netns.Namespace{}}
	}
	for _, ends := range [][2]clab.Endpoint{
		{{Node: "n1", Interface: "eth1"}, {Node: "lan", Interface: "p1"}},
		{{Node: "n2", Interface: "eth1"}, {Node: "lan", Interface: "p2"}},
		{{Node: "c", Interface: "eth1"}, {Node: "lan", Interface: "pc"}},
		{{Node: "n1", Interface: "eth0"}, {Node: ControlPlane, Interface: "m0"}},
		{{Node: "n2", Interface: "eth0"}, {Node: ControlPlane, Interface: "m1"}},
	} {
		f.links = append(f.links, link{ends: ends})
	}
	return f
}

func (f *Fabric) rulesByHost() map[string]string {
	got := map[string]string{}
	for ns, script := range f.rules() {
		for name, h := range f.hosts {
			if h.Netns == ns {
				got[name] = strings.Join(strings.Fields(script), " ")
			}
		}
	}
	return got
}

func TestRules(t *testing.T) {
	bridge := func(forward, input, output string) string {
		return strings.Join(strings.Fields("table bridge lab { chain forward { type filter hook forward priority 0 "+forward+
			" } chain input { type filter hook input priority 0 "+input+" } chain output { type filter hook output priority 0 "+output+" } }"), " ")
	}
	for name, c := range map[string]struct {
		faults faults
		want   map[string]string
	}{
		"nothing": {faults{}, map[string]string{}},
		"two nodes": {
			faults{silences: [][2][]string{{{"n1"}, {"n2"}}, {{"n2"}, {"n1"}}}},
			map[string]string{
				"lan":        bridge(`iifname { "p1" } oifname { "p2" } drop iifname { "p2" } oifname { "p1" } drop`, "", ""),
				ControlPlane: bridge(`iifname { "m0" } oifname { "m1" } drop iifname { "m1" } oifname { "m0" } drop`, "", ""),
			},
		},
		"a client has no management network": {
			faults{silences: [][2][]string{{{"c"}, {"n1", "n2"}}, {{"n1", "n2"}, {"c"}}}},
			map[string]string{
				"lan": bridge(`iifname { "pc" } oifname { "p1", "p2" } drop iifname { "p1", "p2" } oifname { "pc" } drop`, "", ""),
			},
		},
		"the control plane": {
			faults{silences: [][2][]string{{{"n1"}, {ControlPlane}}, {{ControlPlane}, {"n1"}}}},
			map[string]string{ControlPlane: bridge("", `iifname { "m0" } drop`, `oifname { "m0" } drop`)},
		},
		"a node that is not heard": {
			faults{silences: [][2][]string{{{"n1"}, {"n2", ControlPlane}}}},
			map[string]string{
				"lan":        bridge(`iifname { "p1" } oifname { "p2" } drop`, "", ""),
				ControlPlane: bridge(`iifname { "m0" } oifname { "m1" } drop`, `iifname { "m0" } drop`, ""),
			},
		},
		"a node that does not hear": {
			faults{silences: [][2][]string{{{ControlPlane}, {"n1"}}}},
			map[string]string{ControlPlane: bridge("", "", `oifname { "m0" } drop`)},
		},
		"a lossy link": {
			faults{loss: map[clab.Endpoint]int{{Node: "n1", Interface: "eth1"}: 20}},
			map[string]string{
				"n1":  `table netdev lab { chain loss-eth1 { type filter hook egress device "eth1" priority 0 numgen random mod 100 < 20 drop } }`,
				"lan": `table netdev lab { chain loss-p1 { type filter hook egress device "p1" priority 0 numgen random mod 100 < 20 drop } }`,
			},
		},
		"a dead link": {
			faults{loss: map[clab.Endpoint]int{{Node: "c", Interface: "eth1"}: 100}},
			map[string]string{
				"c":   `table netdev lab { chain loss-eth1 { type filter hook egress device "eth1" priority 0 drop } }`,
				"lan": `table netdev lab { chain loss-pc { type filter hook egress device "pc" priority 0 drop } }`,
			},
		},
	} {
		f := unbuilt()
		f.faults = c.faults
		if diff := cmp.Diff(c.want, f.rulesByHost()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNth(t *testing.T) {
	for _, c := range []struct {
		prefix string
		n      int
		want   string
	}{
		{"172.31.255.0/24", 1, "172.31.255.1"},
		{"10.0.0.0/8", 300, "10.0.1.44"},
		{"10.0.0.7/8", 0, "10.0.0.0"},
		{"fd00::/64", 2, "fd00::2"},
		{"198.18.3.252/30", 2, "198.18.3.254"},
	} {
		if got := nth(netip.MustParsePrefix(c.prefix), c.n).String(); got != c.want {
			t.Errorf("number %d of %s is %s, want %s", c.n, c.prefix, got, c.want)
		}
	}
}

func TestMacFor(t *testing.T) {
	a, b := macFor("n1", "eth1"), macFor("n2", "eth1")
	if a.String() == b.String() || a.String() != macFor("n1", "eth1").String() {
		t.Errorf("%v and %v, want stable and different ones", a, b)
	}
	if a[0]&1 != 0 || a[0]&2 == 0 {
		t.Errorf("%v is not a locally administered unicast address", a)
	}
}
