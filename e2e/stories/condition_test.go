// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// allocated is the condition that says whether a Service has what it asks for.
const allocated = "metallb.io/Allocated"

// expectDenied waits until the Service has no address and says why: its condition has
// the reason and mentions each of the words, and an Event has the same message.
func (s *story) expectDenied(name, reason string, words ...string) {
	s.Helper()
	var said string
	s.await(patience, fmt.Sprintf("%s to be denied an address as %s about %q", name, reason, words), func() error {
		service := s.service(name)
		c := meta.FindStatusCondition(service.Status.Conditions, allocated)
		if addrs := addressesOf(service); len(addrs) > 0 || c == nil {
			return fmt.Errorf("it has %v and the conditions %v", addrs, service.Status.Conditions)
		}
		said = c.Message
		unsaid := func(word string) bool { return !strings.Contains(said, word) }
		if c.Status != metav1.ConditionFalse || c.Reason != reason || slices.ContainsFunc(words, unsaid) {
			return fmt.Errorf("its condition is %s, %s: %s", c.Status, c.Reason, said)
		}
		return nil
	})
	s.expectEvent(name, "AllocationFailed", said)
}

// expectLacking waits until the Service's condition says that it has what it asks for,
// but for something it would have liked, which the word names.
func (s *story) expectLacking(name, word string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to say that it lacks %s", name, word), func() error {
		c := meta.FindStatusCondition(s.service(name).Status.Conditions, allocated)
		if c == nil {
			return errors.New("it has no condition")
		}
		if c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, word) {
			return fmt.Errorf("its condition is %s, %s: %s", c.Status, c.Reason, c.Message)
		}
		return nil
	})
	s.expectEvent(name, "AdditionalAssignFailed", word)
}

// expectTakenBack waits for the Event that tells of an address that was taken from the
// Service, and fails unless it mentions each of the words.
func (s *story) expectTakenBack(name string, words ...string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("an Event about %s that tells of %q", name, words), func() error {
		for _, event := range s.eventsFor(name, "ClearAssignment") {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(event, word) }) {
				return nil
			}
		}
		return fmt.Errorf("there are %q", s.eventsOf(name))
	})
}
