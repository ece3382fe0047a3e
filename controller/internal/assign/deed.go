// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/lb"
)

// status returns what the reservation's status is to be. Conditions of others stay.
func (d *deed) status(now time.Time) v1alpha1.AddressReservationStatus {
	state, reason, message := d.verdict()
	condition := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue,
		Reason: reason.String(), Message: message, ObservedGeneration: d.generation,
		LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
	if reason != lb.ReasonAccepted {
		condition.Status = metav1.ConditionFalse
	}
	conditions := []metav1.Condition{condition}
	for _, c := range d.told.Conditions {
		switch {
		case c.Type != v1alpha1.ConditionAccepted:
			conditions = append(conditions, c)
		case c.Status == condition.Status:
			conditions[0].LastTransitionTime = c.LastTransitionTime
		}
	}
	st := v1alpha1.AddressReservationStatus{State: state, Conditions: conditions}
	if !d.released.IsZero() {
		st.ReleasedAt = &metav1.Time{Time: d.released}
	}
	if end, ok := d.ExpiresAt(d.released); ok {
		st.ExpiresAt = &metav1.Time{Time: end}
	}
	return st
}

// verdict says what has become of the reservation, and why.
func (d *deed) verdict() (v1alpha1.ReservationState, lb.Reason, string) {
	s := d.standing
	switch {
	case len(d.problems) > 0:
		v := lb.VerdictOn(d.problems)
		return v1alpha1.ReservationRefused, v.Reason, v.Message
	case d.expired:
		return v1alpha1.ReservationExpired, lb.ReasonExpired, fmt.Sprintf(
			"Service %s was away for longer than %s, and others may have %s", d.Service, d.TTL, join(d.Addresses))
	case d.wisher != nil:
		return v1alpha1.ReservationRefused, lb.ReasonAddressInUse, fmt.Sprintf(
			"Service %s asks for %s by name, and it is not kept from it, although the station %s has it", d.wisher, join(d.Addresses), d.ContestedBy)
	case d.ContestedBy != "" && s.Held:
		return v1alpha1.ReservationHeld, s.Reason, fmt.Sprintf(
			"no Service is given %s unless it asks for it by name: the station %s has it", join(d.Addresses), d.ContestedBy)
	case s.Bound:
		return v1alpha1.ReservationBound, s.Reason, s.Message
	case s.Held:
		return v1alpha1.ReservationHeld, s.Reason, s.Message
	}
	return v1alpha1.ReservationRefused, s.Reason, s.Message
}

// sameStatus reports whether there is no difference that is ours to write.
func sameStatus(a, b v1alpha1.AddressReservationStatus) bool {
	return a.State == b.State && a.ReleasedAt.Equal(b.ReleasedAt) && a.ExpiresAt.Equal(b.ExpiresAt) &&
		saying(a.Conditions) == saying(b.Conditions)
}

// saying returns what our condition says, as one string.
func saying(conditions []metav1.Condition) string {
	i := slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionAccepted })
	if i < 0 {
		return ""
	}
	c := conditions[i]
	return strings.Join([]string{string(c.Status), c.Reason, c.Message, fmt.Sprint(c.ObservedGeneration)}, "\n")
}
