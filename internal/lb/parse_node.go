// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// ParseNode reads a Node. Nothing in a Node is an error: addresses that do not parse,
// those of other types than InternalIP among them, are left out. The result shares the
// labels with the object, which must not be modified afterwards.
func ParseNode(n *corev1.Node) Node {
	node := Node{Name: NodeName(n.Name), Labels: n.Labels}
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			node.Addresses = append(node.Addresses, ip.Unmap())
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			node.NetworkUnavailable = c.Status == corev1.ConditionTrue
		}
	}
	// The presence of the label counts, as in Kubernetes itself; its value does not.
	_, node.Excluded = n.Labels[corev1.LabelNodeExcludeBalancers]
	return node
}

// ParseEndpoints reads the EndpointSlices of one Service, in any order. Slices of type
// FQDN have no addresses to send traffic to and are ignored.
func ParseEndpoints(slices []*discoveryv1.EndpointSlice) Endpoints {
	var e Endpoints
	for _, slice := range slices {
		if slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range slice.Endpoints {
			if usable(&slice.Endpoints[i].Conditions) {
				e.add(slice.Endpoints[i].NodeName)
			}
		}
	}
	return e
}

// usable reports whether an endpoint may receive traffic: when it is ready, which it
// also is when nobody says otherwise, or when it still serves while terminating.
func usable(c *discoveryv1.EndpointConditions) bool {
	ready := c.Ready == nil || *c.Ready
	serving := c.Serving != nil && *c.Serving
	return ready || serving
}

func (e *Endpoints) add(node *string) {
	if node == nil || *node == "" {
		e.Elsewhere = true
		return
	}
	if e.Nodes == nil {
		e.Nodes = make(map[NodeName]struct{})
	}
	e.Nodes[NodeName(*node)] = struct{}{}
}
