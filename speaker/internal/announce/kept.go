// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
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

// parse makes s the Service as far as it is kept.
func (k *keptService) parse(s *lb.Service) {
	labels := s.Labels
	clear(labels)
	*s = lb.Service{
		Name: k.name, UID: string(k.uid), Created: time.Unix(k.created, 0),
		Local: k.local, Addresses: k.addresses, AllocatedFrom: k.allocatedFrom, Labels: labels,
	}
	for _, l := range k.labels {
		if s.Labels == nil {
			s.Labels = make(map[string]string, len(k.labels))
		}
		s.Labels[l.key] = l.value
	}
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

// sharing is room for the sharers of an address. Those of one after the other need no more
// than those of the one that has most. The zero value is ready for use.
type sharing struct {
	holders  []holder
	services []lb.Service
	sharers  []plan.Sharer
}

// holder is a Service that holds an address.
type holder struct {
	service *keptService
	slices  []*keptSlice
}

// parse returns the holders as sharers.
func (r *sharing) parse() []plan.Sharer {
	n := len(r.holders)
	r.services = slices.Grow(r.services[:0], n)[:n]
	r.sharers = slices.Grow(r.sharers[:0], n)[:n]
	for i, h := range r.holders {
		h.service.parse(&r.services[i])
		r.sharers[i].Service = &r.services[i]
		setEndpoints(&r.sharers[i].Endpoints, h.slices)
	}
	return r.sharers
}

// setEndpoints makes e the endpoints of all slices of a Service.
func setEndpoints(e *lb.Endpoints, all []*keptSlice) {
	clear(e.Nodes)
	e.Elsewhere = false
	for _, s := range all {
		e.Elsewhere = e.Elsewhere || s.elsewhere
		for _, node := range s.nodes {
			if e.Nodes == nil {
				e.Nodes = make(map[lb.NodeName]struct{}, len(s.nodes))
			}
			e.Nodes[node] = struct{}{}
		}
	}
}
