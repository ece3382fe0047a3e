// SPDX-License-Identifier: Apache-2.0

package clab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What kind itself uses where its configuration is silent.
func dualPodSubnets() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/56")}
}

func dualServiceSubnets() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:10:96::/112")}
}

// cluster reads a k8s-kind node and the kind configuration it names.
func (p *parser) cluster(o *object, name string) Cluster {
	o.text("image") // the lab's Kubernetes is built from source, at its own version
	o.dictionary("labels")
	file := o.text("startup-config")
	if file == "" {
		o.refuse("startup-config", "is missing, want a kind configuration: it says how many nodes there are")
		return Cluster{Name: name}
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(p.dir, file)
	}
	document, err := os.ReadFile(file)
	if err != nil {
		o.refuse("startup-config", "%v", err)
		return Cluster{Name: name}
	}
	top, err := parse(document, p.problems)
	if err != nil {
		o.refuse("startup-config", "%v", err)
		return Cluster{Name: name}
	}
	top.path = filepath.Base(file) + ": "
	return kindCluster(top, name)
}

// kindCluster reads kind.x-k8s.io/v1alpha4.
func kindCluster(top *object, name string) Cluster {
	c := Cluster{Name: name}
	if kind := top.text("kind"); kind != "Cluster" {
		top.refuse("kind", "is %q, want Cluster", kind)
	}
	if version := top.text("apiVersion"); version != "kind.x-k8s.io/v1alpha4" {
		top.refuse("apiVersion", "is %q, want kind.x-k8s.io/v1alpha4", version)
	}
	controlPlanes := 0
	for _, node := range top.objects("nodes") {
		switch role := node.text("role"); role {
		case "control-plane":
			controlPlanes++
		case "worker":
			c.Members = append(c.Members, ClusterMember{
				Name:   name + "-worker" + ordinal(len(c.Members)),
				Labels: node.dictionary("labels"),
			})
		default:
			node.refuse("role", "is %q, want control-plane or worker", role)
		}
		node.done()
	}
	if controlPlanes != 1 || len(c.Members) == 0 {
		top.refuse("nodes", "has %d control planes and %d workers, want one and at least one", controlPlanes, len(c.Members))
	}
	kindNetworking(top.object("networking"), &c)
	top.done()
	return c
}

// ordinal is what kind appends to the name of the nth worker.
func ordinal(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n + 1)
}

func kindNetworking(o *object, c *Cluster) {
	pods, services := dualPodSubnets(), dualServiceSubnets()
	switch family := o.text("ipFamily"); family {
	case "", "ipv4":
		pods, services = pods[:1], services[:1]
	case "ipv6":
		pods, services = pods[1:], services[1:]
	case "dual":
	default:
		o.refuse("ipFamily", "is %q, want ipv4, ipv6 or dual", family)
	}
	c.PodSubnets = subnets(o, "podSubnet", pods)
	c.ServiceSubnets = subnets(o, "serviceSubnet", services)
	if mode := o.text("kubeProxyMode"); mode != "nftables" {
		o.refuse("kubeProxyMode", "is %q, want nftables: the lab runs kube-proxy in no other mode", mode)
	}
	o.done()
}

func subnets(o *object, key string, standard []netip.Prefix) []netip.Prefix {
	text := o.text(key)
	if text == "" {
		return standard
	}
	var list []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(part)
		if err != nil || p != p.Masked() {
			o.refuse(key, "has %q, want a network like %s", part, standard[0])
			return standard
		}
		list = append(list, p)
	}
	if len(list) != len(standard) || list[0].Addr().Is4() != standard[0].Addr().Is4() {
		o.refuse(key, "is %q, want one network for each IP family, like %s", text, join(standard))
		return standard
	}
	return list
}

func join(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// matchMembers holds the ext-container nodes against the nodes that kind makes.
// A cluster node that the file does not mention still exists; it has eth0 only.
func (p *parser) matchMembers(t *Topology, nodes *object) {
	made := map[string]bool{}
	for _, m := range t.Cluster.Members {
		made[m.Name] = true
	}
	for _, n := range t.Nodes {
		if n.Kind != Member || made[n.Name] || t.Cluster.Members == nil {
			continue
		}
		if n.Name == t.Cluster.Name+"-control-plane" {
			nodes.refuse(n.Name, "is the control plane, which has no links in the lab; leave it out")
			continue
		}
		nodes.refuse(n.Name, "is no node of the cluster %s; %s", t.Cluster.Name, names(t.Cluster))
	}
	for _, m := range t.Cluster.Members {
		if t.Node(m.Name) == nil {
			t.Nodes = append(t.Nodes, Node{Name: m.Name, Kind: Member, Mgmt: true})
		}
	}
	slices.SortFunc(t.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
}

func names(c Cluster) string {
	first, last := c.Members[0].Name, c.Members[len(c.Members)-1].Name
	if first == last {
		return "its only worker is " + first
	}
	return fmt.Sprintf("its workers are %s to %s", first, last)
}
