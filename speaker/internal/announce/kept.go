// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
)

// keptService is what an Inventory keeps of a Service: what decides about announcements,
// and as little room as that takes, for there may be tens of thousands. It is never
// modified.
type keptService struct {
	name          lb.ServiceName
	uid           types.UID
	allocatedFrom string
	labels        []label // a map would be larger than all the rest
	addresses     []netip.Addr
	created       int64 // Unix time, in seconds as the API server has it
	local         bool
}

type label struct{ key, value string }

func keepService(s *corev1.Service) *keptService {
	parsed, _ := lb.ParseService(s)
	kept := &keptService{
		name: parsed.Name, uid: s.UID, allocatedFrom: parsed.AllocatedFrom, addresses: parsed.Addresses,
		created: parsed.Created.Unix(), local: parsed.Local,
	}
	if len(parsed.Labels) > 0 {
		kept.labels = make([]label, 0, len(parsed.Labels))
	}
	for key, value := range parsed.Labels {
		kept.labels = append(kept.labels, label{key, value})
	}
	return kept
}

// parsed returns the Service as far as it is kept.
func (k *keptService) parsed() *lb.Service {
	s := &lb.Service{
		Name: k.name, UID: string(k.uid), Created: time.Unix(k.created, 0),
		Local: k.local, Addresses: k.addresses, AllocatedFrom: k.allocatedFrom,
	}
	if len(k.labels) > 0 {
		s.Labels = make(labels.Set, len(k.labels))
	}
	for _, l := range k.labels {
		s.Labels[l.key] = l.value
	}
	return s
}

// keptSlice is what an Inventory keeps of an EndpointSlice. It is never modified.
type keptSlice struct {
	name      string
	service   lb.ServiceName
	nodes     []lb.NodeName // those with a usable endpoint
	elsewhere bool          // there is one on no known node
}

func keepSlice(s *discoveryv1.EndpointSlice) *keptSlice {
	usable := lb.ParseEndpoints([]*discoveryv1.EndpointSlice{s})
	kept := &keptSlice{name: s.Name, service: serviceOf(s), elsewhere: usable.Elsewhere}
	if len(usable.Nodes) > 0 {
		kept.nodes = make([]lb.NodeName, 0, len(usable.Nodes))
	}
	for node := range usable.Nodes {
		kept.nodes = append(kept.nodes, node)
	}
	return kept
}

// endpointsOf returns the endpoints of all slices of a Service.
func endpointsOf(all []*keptSlice) lb.Endpoints {
	var e lb.Endpoints
	for _, s := range all {
		e.Elsewhere = e.Elsewhere || s.elsewhere
		for _, node := range s.nodes {
			if e.Nodes == nil {
				e.Nodes = make(map[lb.NodeName]struct{}, len(s.nodes))
			}
			e.Nodes[node] = struct{}{}
		}
	}
	return e
}
