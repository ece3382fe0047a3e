// SPDX-License-Identifier: Apache-2.0

package clab

import (
	"fmt"
	"strings"
)

func parseLink(o *object) Link {
	l := Link{MTU: o.number("mtu", standardMTU, minMTU, maxMTU)}
	ends := o.texts("endpoints")
	if len(ends) != len(l.Ends) {
		o.refuse("endpoints", "has %d ends, want 2", len(ends))
		ends = nil
	}
	for i, text := range ends {
		node, name, ok := strings.Cut(text, ":")
		if !ok || node == "" || !interfaceName.MatchString(name) {
			o.refuse(fmt.Sprintf("endpoints[%d]", i), "is %q, want NODE:INTERFACE, an interface of at most 15 characters", text)
			continue
		}
		l.Ends[i] = Endpoint{Node: node, Interface: name}
	}
	o.done()
	return l
}

// checkLinks holds the links against the nodes.
func (p *parser) checkLinks(t *Topology, body *object) {
	used := map[Endpoint]bool{}
	for i, link := range t.Links {
		for j, end := range link.Ends {
			if end == (Endpoint{}) {
				continue // already refused
			}
			key := fmt.Sprintf("links[%d].endpoints[%d]", i, j)
			node := t.Node(end.Node)
			switch {
			case end.Node == t.Cluster.Name:
				body.refuse(key, "ends at the cluster %s, want one of its nodes", end.Node)
			case node == nil:
				body.refuse(key, "ends at %q, which is no node", end.Node)
			case end.Interface == "lo" || (end.Interface == "eth0" && node.Mgmt):
				body.refuse(key, "uses %s of %s, which the lab itself makes", end.Interface, end.Node)
			case used[end]:
				body.refuse(key, "uses %s a second time", end)
			}
			used[end] = true
		}
	}
}
