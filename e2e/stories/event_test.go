// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eventsOf returns the Events about a Service, and none about its predecessors, as "Reason: message", one for each time
// that it happened, oldest first.
func (s *story) eventsOf(service string) []string {
	s.Helper()
	list, err := s.api().CoreV1().Events(s.ns).List(s.ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Service,involvedObject.uid=" + string(s.service(service).UID),
	})
	s.must(err)
	var events []string
	for i := range list.Items {
		for range max(1, list.Items[i].Count) {
			events = append(events, describe(&list.Items[i]))
		}
	}
	return events
}

func describe(e *corev1.Event) string { return e.Reason + ": " + e.Message }

// eventsFor returns those events of a Service that have the reason.
func (s *story) eventsFor(service, reason string) []string {
	s.Helper()
	var events []string
	for _, event := range s.eventsOf(service) {
		if strings.HasPrefix(event, reason+": ") {
			events = append(events, event)
		}
	}
	return events
}

// expectEvent waits for an Event of the reason whose message contains a fragment.
func (s *story) expectEvent(service, reason, fragment string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("an Event %s about %s that says %q", reason, service, fragment), func() error {
		for _, event := range s.eventsFor(service, reason) {
			if strings.Contains(event, fragment) {
				return nil
			}
		}
		return fmt.Errorf("there are %q", s.eventsOf(service))
	})
}

// expectEvents waits for the n-th Event of the reason and fails when there is one more.
func (s *story) expectEvents(service, reason string, n int) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%d Events %s about %s", n, reason, service), func() error {
		if events := s.eventsFor(service, reason); len(events) < n {
			return fmt.Errorf("there are %q", s.eventsOf(service))
		}
		return nil
	})
	if events := s.eventsFor(service, reason); len(events) > n {
		s.Errorf("%d Events %s about %s; want %d: %q", len(events), reason, service, n, events)
	}
}
