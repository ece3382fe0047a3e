// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// Reasons of Events, by MetalLB's names.
const (
	eventAssigned        = "IPAllocated"
	eventTakenBack       = "ClearAssignment"
	eventRefused         = "AllocationFailed"
	eventSecondRefused   = "AdditionalAssignFailed"
	eventRequestRejected = "LoadBalancerFailed"
	eventDeprecated      = "deprecatedAnnotation"
)

// change is a write that the API server has accepted.
type change struct {
	service    lb.ServiceName
	uid        types.UID
	base, want state
	// cause says why an address of base is not in want.
	cause string
	// deprecated says which deprecated annotations the Service uses.
	deprecated []string
}

// news returns the Events that tell of a change. A Service that stays as it is, in
// everything that people see, is no news.
func news(c change) []kube.Event {
	var events []kube.Event
	tell := func(kind, reason, message string) {
		events = append(events, kube.Event{Service: c.service, UID: c.uid, Type: kind, Reason: reason, Message: message})
	}
	lost := without(c.base.addresses, c.want.addresses)
	gained := without(c.want.addresses, c.base.addresses)
	if len(lost) > 0 {
		tell(corev1.EventTypeNormal, eventTakenBack, takenBack(c, lost))
	}
	switch {
	case len(gained) == 0:
	case len(c.base.addresses) > 0 && len(lost) == 0:
		tell(corev1.EventTypeNormal, eventAssigned, fmt.Sprintf("Assigned additional IP %q", gained))
	default:
		tell(corev1.EventTypeNormal, eventAssigned, fmt.Sprintf("Assigned IP %q", c.want.addresses))
	}
	if cond := c.want.condition; !cond.says(c.base.condition) && cond.message != "" {
		kind, reason := urgency(cond)
		tell(kind, reason, cond.message)
	}
	if cond := c.want.announced; !cond.says(c.base.announced) && cond.message != "" {
		tell(corev1.EventTypeWarning, cond.reason, cond.message)
	}
	for _, message := range c.deprecated {
		tell(corev1.EventTypeWarning, eventDeprecated, message)
	}
	return events
}

// takenBack says from where to where the Service moved, and why.
func takenBack(c change, lost []netip.Addr) string {
	to := "nothing replaces it"
	if len(c.want.addresses) > 0 {
		to = "the Service now has " + c.want.places(c.want.addresses)
	}
	cause := c.cause
	if cause == "" {
		cause = "it may not have it any longer"
	}
	return fmt.Sprintf("%s is taken from the Service, because %s; %s", c.base.places(lost), cause, to)
}

// places says which pools those of the addresses of s are from.
func (s state) places(addresses []netip.Addr) string {
	record := lb.Service{Addresses: s.addresses, AllocatedFrom: s.pool}
	var words []string
	for len(addresses) > 0 {
		pool := record.PoolOf(addresses[0])
		n := 1
		for n < len(addresses) && record.PoolOf(addresses[n]) == pool {
			n++
		}
		word := join(addresses[:n])
		if pool != "" {
			word += " from pool " + pool
		}
		words, addresses = append(words, word), addresses[n:]
	}
	return strings.Join(words, " and ")
}

// urgency returns the type and the reason of the Event about a condition with a
// message.
func urgency(c condition) (kind, reason string) {
	switch c.reason {
	case lb.ReasonAllocated.String():
		return corev1.EventTypeNormal, eventSecondRefused
	case lb.ReasonInvalidService.String():
		return corev1.EventTypeWarning, eventRequestRejected
	}
	return corev1.EventTypeWarning, eventRefused
}

func without(addresses, others []netip.Addr) []netip.Addr {
	var rest []netip.Addr
	for _, a := range addresses {
		if !slices.Contains(others, a) {
			rest = append(rest, a)
		}
	}
	return rest
}

func join(addresses []netip.Addr) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}
