// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"slices"
	"strings"
)

// l2Status is what a user reads in a ServiceL2Status.
type l2Status struct {
	Metadata struct {
		Labels map[string]string
	}
	Status struct {
		Node, ServiceName, ServiceNamespace string
		Interfaces                          []struct{ Name string }
	}
}

// l2Statuses returns those of a Service of the story.
func (s *story) l2Statuses(service string) ([]l2Status, error) {
	var list struct{ Items []l2Status }
	if err := s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/servicel2statuses", &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(st l2Status) bool {
		return st.Status.ServiceNamespace != s.ns || st.Status.ServiceName != service
	}), nil
}

// awaitL2Status waits until the Service has exactly one ServiceL2Status, and it is as
// wanted.
func (s *story) awaitL2Status(service, what string, wanted func(l2Status) bool) {
	s.Helper()
	s.await(patience, "one ServiceL2Status of "+service+" with "+what, func() error {
		statuses, err := s.l2Statuses(service)
		if err == nil && (len(statuses) != 1 || !wanted(statuses[0])) {
			err = fmt.Errorf("there are %+v", statuses)
		}
		return err
	})
}

// expectAnnouncement waits until kubectl shows that some node announces the Service.
func (s *story) expectAnnouncement(service string) {
	s.Helper()
	s.awaitL2Status(service, "a node", func(st l2Status) bool { return st.Status.Node != "" })
}

// expectL2Status waits until kubectl shows that the node, and no other, announces the
// Service.
func (s *story) expectL2Status(service, node string) {
	s.Helper()
	s.awaitL2Status(service, "node "+node+" and its labels", func(st l2Status) bool {
		return st.Status.Node == node &&
			st.Metadata.Labels["metallb.io/node"] == node &&
			st.Metadata.Labels["metallb.io/service-name"] == service &&
			st.Metadata.Labels["metallb.io/service-namespace"] == s.ns
	})
}

// expectL2Interfaces waits until kubectl shows that the Service is announced on just
// these interfaces; none means on all.
func (s *story) expectL2Interfaces(service string, interfaces ...string) {
	s.Helper()
	s.awaitL2Status(service, "interfaces ["+strings.Join(interfaces, " ")+"]", func(st l2Status) bool {
		var names []string
		for _, i := range st.Status.Interfaces {
			names = append(names, i.Name)
		}
		return slices.Equal(names, interfaces)
	})
}

func (s *story) expectNoL2Status(service string) {
	s.Helper()
	s.await(patience, "no ServiceL2Status of "+service, func() error {
		statuses, err := s.l2Statuses(service)
		if err == nil && len(statuses) > 0 {
			err = fmt.Errorf("there are %+v", statuses)
		}
		return err
	})
}
