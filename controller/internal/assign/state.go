// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// ConditionAllocated is the type of the condition on Services that says whether the
// Service has the addresses it asks for, and if not, why. A Service that has them
// and never had to wait may be without it.
const ConditionAllocated = "metallb.io/Allocated"

// state is what the API server has, or shall have, of ours about one Service.
type state struct {
	addresses []netip.Addr
	// pool is the ip-allocated-from-pool annotation. Empty: there is none.
	pool      string
	condition condition
	// announced is ConditionAnnounced.
	announced condition
	// contested is ConditionContested.
	contested condition
	// untidy reports something to be removed: ingress entries that are not ours, or
	// the annotation under its deprecated name.
	untidy bool
}

// condition is one of ours. The zero value is none.
type condition struct {
	status          metav1.ConditionStatus
	reason, message string
	since           time.Time
}

// observe returns the state that the API server has.
func observe(s *corev1.Service, svc *lb.Service) state {
	st := state{
		addresses: svc.Addresses,
		pool:      s.Annotations[v1beta1.AnnotationAllocatedFromPool],
		untidy:    len(s.Status.LoadBalancer.Ingress) != len(svc.Addresses),
	}
	if _, ok := s.Annotations[deprecatedAllocatedFrom]; ok {
		st.untidy = true
	}
	for i := range s.Status.Conditions {
		c := &s.Status.Conditions[i]
		found := condition{c.Status, c.Reason, c.Message, c.LastTransitionTime.Time}
		switch c.Type {
		case ConditionAllocated:
			st.condition = found
		case ConditionAnnounced:
			st.announced = found
		case ConditionContested:
			st.contested = found
		}
	}
	return st
}

// desire returns the state that an outcome shall have.
func desire(o ipam.Outcome) state {
	st := state{
		addresses: o.Addresses,
		pool:      o.Pool,
		condition: condition{status: metav1.ConditionTrue, reason: o.Reason.String(), message: o.Message},
	}
	if o.Reason != lb.ReasonAllocated {
		st.condition.status = metav1.ConditionFalse
	}
	return st
}

// anything is what the API server may have of a Service that the informer does not
// show any more: there may be something to be removed of every kind.
func anything() state {
	unknown := condition{status: metav1.ConditionUnknown}
	return state{untidy: true, condition: unknown, announced: unknown, contested: unknown}
}

// blank reports whether there is nothing of ours.
func (s state) blank() bool {
	return len(s.addresses) == 0 && s.pool == "" && s.condition == condition{} && s.announced == condition{} && s.contested == condition{} && !s.untidy
}

// sameAddresses reports whether nothing but conditions is to be written.
func (s state) sameAddresses(want state) bool {
	return !s.untidy && s.pool == want.pool && slices.Equal(s.addresses, want.addresses)
}

// satisfies reports whether s needs no write to become want.
func (s state) satisfies(want state) bool {
	return s.sameAddresses(want) && s.condition.satisfies(want.condition) && s.announced.says(want.announced) && s.contested.says(want.contested)
}

// satisfies reports whether c needs no write to become want. A Service that has what
// it asks for and never had to wait needs no condition to say so, which spares ten
// thousand of them in the API server and in every informer.
func (c condition) satisfies(want condition) bool {
	return c.says(want) || c == condition{} && want.says(contented())
}

// contented is the condition of a Service that lacks nothing.
func contented() condition {
	return condition{status: metav1.ConditionTrue, reason: lb.ReasonAllocated.String()}
}

func (c condition) says(d condition) bool {
	return c.status == d.status && c.reason == d.reason && c.message == d.message
}

// starting returns c as it is written at a time when old is what is there: the time
// of a condition is that of the last change of its status.
func (c condition) starting(old condition, now time.Time) condition {
	c.since = now
	if old.status == c.status {
		c.since = old.since
	}
	return c
}
