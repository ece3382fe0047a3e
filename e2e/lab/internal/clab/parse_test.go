// SPDX-License-Identifier: Apache-2.0

package clab_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
)

var update = flag.Bool("update", false, "write golden files")

// TestEveryTopologyParses holds the project's topologies against the subset.
func TestEveryTopologyParses(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(topologies, "*.clab.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found topologies %v, %v", files, err)
	}
	for _, file := range files {
		if _, err := clab.Load(file); err != nil {
			t.Error(err)
		}
	}
}

// TestParseGolden compares what files mean with what was written down.
func TestParseGolden(t *testing.T) {
	for _, file := range []string{filepath.Join(topologies, "l2.clab.yml"), "testdata/everything.clab.yml"} {
		topology, err := clab.Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := json.MarshalIndent(topology, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", strings.TrimSuffix(filepath.Base(file), ".clab.yml")+".golden.json")
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// base is a topology without faults; each case of the table breaks one thing.
const base = `
name: t
topology:
  nodes:
    k8s: {kind: k8s-kind, image: kindest/node:v1, startup-config: kind.yaml}
    k8s-worker: {kind: ext-container}
    client: {kind: linux, image: alpine}
    router: {kind: linux, image: frrouting/frr:8}
    lan: {kind: bridge}
  links:
    - endpoints: [k8s-worker:eth1, lan:one]
    - endpoints: [client:eth1, lan:two]
`

const baseKind = `
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {ipFamily: dual, kubeProxyMode: nftables}
nodes:
  - role: control-plane
  - role: worker
`

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, old, replacement string // in the topology, or else in the kind file
		want                   string
	}{
		{"empty", base, "", "the document is empty"},
		{"not YAML", base, "a: [", "parse YAML"},
		{"twice the same key", "name: t", "name: t\nname: t", `key "name" already set`},
		{"no name", "name: t", "", `name: is ""`},
		{"name of a wrong kind", "name: t", "name: 7", "name: is 7, want a string"},
		{"unknown key at the top", "name: t", "name: t\nprefix: x", "prefix: the lab does not support this key; it supports: mgmt, name, topology"},
		{"unknown key of topology", "  links:", "  groups: {}\n  links:", "topology.groups: the lab does not support"},
		{"unknown key of mgmt", "name: t", "name: t\nmgmt: {bridge: x}", "mgmt.bridge: the lab does not support"},
		{"mgmt with host bits", "name: t", "name: t\nmgmt: {ipv4-subnet: 10.0.0.1/24}", "mgmt.ipv4-subnet: is \"10.0.0.1/24\""},
		{"mgmt of the other family", "name: t", "name: t\nmgmt: {ipv4-subnet: 'fd00::/64'}", "mgmt.ipv4-subnet"},
		{"mgmt too small", "name: t", "name: t\nmgmt: {ipv4-subnet: 10.0.0.0/28}", "/24 or larger"},
		{"mgmt MTU", "name: t", "name: t\nmgmt: {mtu: 100}", "mgmt.mtu: is 100, want a whole number from 1280"},
		{"node without kind", "client: {kind: linux,", "client: {", `topology.nodes.client.kind: is ""`},
		{"node of an unknown kind", "client: {kind: linux,", "client: {kind: arista_ceos,", `topology.nodes.client.kind: is "arista_ceos"`},
		{"node that is no mapping", "client: {kind: linux, image: alpine}", "client: 7", "topology.nodes.client: is 7, want a mapping"},
		{"name of a node", "client: {kind", "Client_1: {kind", "topology.nodes.Client_1: is no name for a node"},
		{"unknown key of a client", "image: alpine", "image: alpine, ports: ['80:80']", "topology.nodes.client.ports: the lab does not support"},
		{"unknown key of a node", "{kind: ext-container}", "{kind: ext-container, image: x}", "topology.nodes.k8s-worker.image"},
		{"unknown key of a switch", "{kind: bridge}", "{kind: bridge, exec: [ls]}", "topology.nodes.lan.exec"},
		{"binds of a client", "image: alpine", "image: alpine, binds: [a:/b]", "topology.nodes.client.binds: the lab does not support"},
		{"client without image", ", image: alpine", "", "topology.nodes.client.image: is missing"},
		{"network mode", "image: alpine", "image: alpine, network-mode: host", `network-mode: is "host", want none`},
		{"empty command", "image: alpine", "image: alpine, exec: ['']", "topology.nodes.client.exec[0]: is empty"},
		{"open quotation", "image: alpine", `image: alpine, exec: ['echo "x']`, "ends inside a quotation"},
		{"exec that is no list", "image: alpine", "image: alpine, exec: ls", "topology.nodes.client.exec: is ls, want a list"},
		{"command that is no text", "image: alpine", "image: alpine, exec: [7]", "exec[0]: is 7, want a string"},
		{"sysctl outside", "image: alpine", "image: alpine, sysctls: {kernel.hostname: x}", "sysctls.kernel.hostname: is not a setting of a network namespace"},
		{"sysctl that climbs", "image: alpine", "image: alpine, sysctls: {net./../x: 1}", "is not a setting of a network namespace"},
		{"bind of a wrong form", "frr:8", "frr:8, binds: [daemons]", `topology.nodes.router.binds[0]: is "daemons", want SOURCE:TARGET`},
		{"bind outside /etc/frr", "frr:8", "frr:8, binds: ['kind.yaml:/etc/passwd']", "want a file in /etc/frr"},
		{"bind that is not there", "frr:8", "frr:8, binds: ['none:/etc/frr/daemons']", "names none, which is no file"},
		{"second cluster", "lan: {kind: bridge}", "lan: {kind: bridge}\n    more: {kind: k8s-kind, startup-config: kind.yaml}", "topology.nodes.more.kind: is a second cluster"},
		{"no cluster", "k8s: {kind: k8s-kind, image: kindest/node:v1, startup-config: kind.yaml}", "", "topology.nodes: has no node of kind k8s-kind"},
		{"cluster without configuration", ", startup-config: kind.yaml", "", "topology.nodes.k8s.startup-config: is missing"},
		{"configuration that is not there", "kind.yaml", "none.yaml", "startup-config: open"},
		{"node that kind does not make", "k8s-worker:", "k8s-worker7:", "topology.nodes.k8s-worker7: is no node of the cluster k8s; its only worker is k8s-worker"},
		{"links of the control plane", "k8s-worker:", "k8s-control-plane:", "is the control plane, which has no links"},
		{"one end", "[client:eth1, lan:two]", "[client:eth1]", "topology.links[1].endpoints: has 1 ends, want 2"},
		{"end without interface", "client:eth1", "client", `topology.links[1].endpoints[0]: is "client"`},
		{"long interface", "client:eth1", "client:abcdefghijklmnop", "at most 15 characters"},
		{"end nowhere", "client:eth1", "nobody:eth1", `topology.links[1].endpoints[0]: ends at "nobody"`},
		{"end at the cluster", "client:eth1", "k8s:eth1", "ends at the cluster k8s"},
		{"the lab's own interface", "client:eth1", "client:eth0", "uses eth0 of client, which the lab itself makes"},
		{"end used twice", "lan:two", "lan:one", "topology.links[1].endpoints[1]: uses lan:one a second time"},
		{"MTU of a link", "[client:eth1, lan:two]", "[client:eth1, lan:two]\n      mtu: 1000.5", "topology.links[1].mtu: is 1000.5"},
		{"unknown key of a link", "[client:eth1, lan:two]", "[client:eth1, lan:two]\n      vars: {}", "topology.links[1].vars: the lab does not support"},
		{"link that is no mapping", "- endpoints: [client:eth1, lan:two]", "- x", "topology.links[1]: is x, want a mapping"},

		{"kind of kind", "kind: Cluster", "kind: Clusters", `kind.yaml: .kind: is "Clusters"`},
		{"version of kind", "v1alpha4", "v1alpha5", "kind.yaml: .apiVersion"},
		{"unknown key of kind", "kind: Cluster", "kind: Cluster\nfeatureGates: {}", "kind.yaml: .featureGates: the lab does not support"},
		{"unknown key of kind's nodes", "- role: worker", "- role: worker\n    image: x", "kind.yaml: .nodes[1].image: the lab does not support"},
		{"role", "- role: worker", "- role: boss", `kind.yaml: .nodes[1].role: is "boss"`},
		{"no worker", "- role: worker", "", "has 1 control planes and 0 workers"},
		{"two control planes", "- role: worker", "- role: worker\n  - role: control-plane", "has 2 control planes"},
		{"family", "dual", "both", `ipFamily: is "both"`},
		{"proxy", "nftables", "iptables", `kubeProxyMode: is "iptables", want nftables`},
		{"pod subnet", "ipFamily: dual", "ipFamily: dual, podSubnet: 10.0.0.0/16", "podSubnet: is \"10.0.0.0/16\", want one network for each IP family"},
		{"service subnet", "ipFamily: dual", "ipFamily: dual, serviceSubnet: 'x,y'", `serviceSubnet: has "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			topology, kind := strings.Replace(base, c.old, c.replacement, 1), baseKind
			if topology == base {
				kind = strings.Replace(baseKind, c.old, c.replacement, 1)
				if kind == baseKind {
					t.Fatalf("nothing was replaced: %q is in neither file", c.old)
				}
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "kind.yaml"), []byte(kind), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := clab.Parse([]byte(topology), dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that contains %q", err, c.want)
			}
		})
	}
}

// TestParseReportsEverything checks that one run shows all that is wrong.
func TestParseReportsEverything(t *testing.T) {
	_, err := clab.Parse([]byte("name: 7\nprefix: x\ntopology: {nodes: {a: {kind: linux}}}"), t.TempDir())
	for _, want := range []string{"name:", "prefix:", "a.image:", "no node of kind k8s-kind"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that contains %q", err, want)
		}
	}
}

func TestInheritance(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kind.yaml"), []byte(baseKind), 0o644); err != nil {
		t.Fatal(err)
	}
	topology, err := clab.Parse(fmt.Appendf(nil, "%s  defaults: {labels: {a: d, b: d}}\n  kinds: {linux: {exec: [one], labels: {b: k}}}\n",
		strings.Replace(base, "image: alpine", "image: alpine, exec: ['two \"words here\"'], labels: {c: node}", 1)), dir)
	if err != nil {
		t.Fatal(err)
	}
	client := topology.Node("client")
	if diff := cmp.Diff([][]string{{"one"}, {"two", "words here"}}, client.Exec); diff != "" {
		t.Errorf("exec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "d", "b": "k", "c": "node"}, client.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte("topology: {nodes: {a: null}, links: [{endpoints: [a:b, c:d]}]}"))
	f.Fuzz(func(t *testing.T, document []byte) {
		topology, err := clab.Parse(document, "testdata")
		if (topology == nil) == (err == nil) {
			t.Errorf("a topology %v and an error %v", topology, err)
		}
	})
}
