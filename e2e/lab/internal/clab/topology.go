// SPDX-License-Identifier: Apache-2.0

package clab

import (
	"net/netip"
)

// Topology is a containerlab file, checked: names are unique, links end at
// nodes that exist, and everything in it is something the lab can build.
type Topology struct {
	Name    string
	Mgmt    Mgmt
	Cluster Cluster
	// Nodes are all nodes with a namespace of their own, in order of their names.
	// The k8s-kind node is not among them: it is Cluster.
	Nodes []Node
	Links []Link
}

// Mgmt is the management network: the one that eth0 of every node is in.
type Mgmt struct {
	IPv4, IPv6 netip.Prefix
	// MTU of eth0 in bytes.
	MTU int
}

// Kind is what a node becomes.
type Kind uint8

// The kinds of nodes.
const (
	// Switch is a Linux bridge (kind bridge).
	Switch Kind = iota + 1
	// Member is a node of the Kubernetes cluster (kind ext-container).
	Member
	// Client is an empty namespace (kind linux).
	Client
	// Router is a namespace that runs FRR (kind linux with an FRR image).
	Router
)

// String returns the kind's name as the lab shows it.
func (k Kind) String() string {
	switch k {
	case Switch:
		return "switch"
	case Member:
		return "node"
	case Client:
		return "client"
	case Router:
		return "router"
	}
	return "unknown"
}

// MarshalText returns the same name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Node is one namespace to build.
type Node struct {
	Name   string
	Kind   Kind
	Image  string
	Labels map[string]string
	// Exec are commands to run once all links are there, split into words.
	Exec [][]string
	// Sysctls are written before the links come up.
	Sysctls map[string]string
	// Binds are files to show inside the node.
	Binds []Bind
	// Mgmt says whether the node has an eth0 on the management network.
	Mgmt bool
}

// Bind shows a file of the host inside a node.
type Bind struct {
	// Source is a path on the host.
	Source string
	// Target is an absolute path inside the node.
	Target string
}

// Link is a cable.
type Link struct {
	Ends [2]Endpoint
	// MTU of both ends in bytes.
	MTU int
}

// Endpoint is one end of a link.
type Endpoint struct {
	Node      string
	Interface string
}

// String returns the endpoint as containerlab writes it.
func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

// Cluster is the Kubernetes cluster that kind would make.
type Cluster struct {
	Name    string
	Members []ClusterMember
	// PodSubnets and ServiceSubnets hold one prefix for each IP family, the
	// primary family first.
	PodSubnets     []netip.Prefix
	ServiceSubnets []netip.Prefix
}

// ClusterMember is a worker that kind would make.
type ClusterMember struct {
	Name   string
	Labels map[string]string
}

// Node returns the node of that name, or nil.
func (t *Topology) Node(name string) *Node {
	for i := range t.Nodes {
		if t.Nodes[i].Name == name {
			return &t.Nodes[i]
		}
	}
	return nil
}

// ControlPlaneOnly is the topology of a cluster without nodes.
func ControlPlaneOnly(name string) *Topology {
	return &Topology{
		Name: name,
		Mgmt: defaultMgmt(),
		Cluster: Cluster{
			Name:           name,
			PodSubnets:     dualPodSubnets(),
			ServiceSubnets: dualServiceSubnets(),
		},
	}
}
