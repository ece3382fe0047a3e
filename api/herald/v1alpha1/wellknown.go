// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelFromAnnotation is on the reservations that the controller makes because the
// annotation herald-lb.io/reserve of a Service asks for them: it keeps them in step with
// the Service and deletes them when they expire. One without the label is its author's.
const LabelFromAnnotation = GroupName + "/from-annotation"

// ConditionAccepted is True while every address of the reservation is kept, and False
// with the reason and what to do while one is not.
const ConditionAccepted = "Accepted"
