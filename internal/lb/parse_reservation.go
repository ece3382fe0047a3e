// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
)

// ParseReservation reads an AddressReservation. A fatal problem means that it keeps
// nothing: what can be read of it is in the result all the same, without addresses.
func ParseReservation(o *v1alpha1.AddressReservation) (Reservation, []Problem) {
	report := report{object: objectOf("AddressReservation", o)}
	r := Reservation{
		Name:           ReservationName{o.Namespace, o.Name},
		UID:            string(o.UID),
		Created:        o.CreationTimestamp.Time,
		Service:        ServiceName{o.Namespace, o.Spec.ServiceName},
		SharingKey:     o.Spec.SharingKey,
		FromAnnotation: o.Labels[v1alpha1.LabelFromAnnotation] == "true",
		ContestedBy:    strings.ReplaceAll(o.Labels[v1alpha1.LabelContested], "-", ":"),
	}
	if o.Status.ReleasedAt != nil {
		r.ReleasedAt = o.Status.ReleasedAt.Time
	}
	if o.Spec.TTL != nil {
		r.TTL = o.Spec.TTL.Duration
	}
	if r.TTL < 0 {
		report.reject(ReasonInvalid, "spec.ttl", "%s is less than nothing; leave it out to keep the addresses for ever", r.TTL)
	}
	for i, text := range o.Spec.Addresses {
		a, err := parseRequested(text)
		if err != nil {
			report.reject(ReasonInvalid, "spec.addresses["+strconv.Itoa(i)+"]", "%v", err)
			continue
		}
		if !slices.Contains(r.Addresses, a) {
			r.Addresses = append(r.Addresses, a)
		}
	}
	if report.rejected {
		r.Addresses = nil
	}
	return r, report.problems
}

// reserve reads the annotation that asks for a reservation.
func (p *serviceParser) reserve() ReserveWish {
	value, ok := p.object.Annotations[v1beta1.AnnotationReserve]
	switch {
	case !ok || value == "false":
		return ReserveWish{}
	case value == "true":
		return ReserveWish{Wanted: true}
	}
	ttl, err := time.ParseDuration(value)
	if err != nil || ttl < time.Second {
		p.reject(annotation{key: v1beta1.AnnotationReserve}.field(),
			`%q is neither "true", "false" nor a duration of 1s or longer; write one such as 48h or 90m`, value)
		return ReserveWish{}
	}
	return ReserveWish{Wanted: true, TTL: ttl}
}
