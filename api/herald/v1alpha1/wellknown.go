// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelFromAnnotation is on the reservations that the controller makes because the
// annotation herald-lb.io/reserve of a Service asks for them: it keeps them in step with
// the Service and deletes them when they expire. One without the label is its author's.
const LabelFromAnnotation = GroupName + "/from-annotation"

// LabelContested is on the reservations that speakers make of addresses that a station
// outside the cluster has: its value is the hardware address of that station, with dashes.
// They are in the namespace of the speakers; elsewhere the label means nothing. No Service
// is given such an address, unless it asks for it by name.
const LabelContested = GroupName + "/contested"

// LabelContestedOn names the node of the speaker that looks after such a reservation.
const LabelContestedOn = GroupName + "/contested-on"

// ConditionAccepted is True while every address of the reservation is kept, and False
// with the reason and what to do while one is not.
const ConditionAccepted = "Accepted"
