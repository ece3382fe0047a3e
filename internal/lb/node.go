// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/labels"
)

// NodeName is the name of a Node object.
type NodeName string

// Node is what Herald needs to know of a Node.
type Node struct {
	Name   NodeName
	Labels labels.Set
	// Addresses are the InternalIP addresses, in the order of status.addresses.
	Addresses []netip.Addr
	// NetworkUnavailable is the condition of that name, when True.
	NetworkUnavailable bool
	// Excluded is the label node.kubernetes.io/exclude-from-external-load-balancers.
	Excluded bool
	// Draining says that the node bears the administrator's DrainMark: it is to hand its
	// addresses and routes over. ParseNode does not know the mark and leaves it false.
	Draining bool
}

// Endpoints says where the endpoints of one Service are that may receive traffic:
// ready ones, and terminating ones that still serve.
type Endpoints struct {
	// Nodes have at least one usable endpoint each.
	Nodes map[NodeName]struct{}
	// Elsewhere reports a usable endpoint that is on no known node.
	Elsewhere bool
}

// Any reports whether there is a usable endpoint anywhere.
func (e Endpoints) Any() bool { return e.Elsewhere || len(e.Nodes) > 0 }

// On reports whether node has a usable endpoint.
func (e Endpoints) On(node NodeName) bool {
	_, ok := e.Nodes[node]
	return ok
}
