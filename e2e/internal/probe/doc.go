// SPDX-License-Identifier: Apache-2.0

// Package probe is a client that keeps asking, and remembers when it was answered
// and by whom: the measure of an interruption as a user would feel it.
//
// It owns the rhythm and the record. What a question is, it is told; it knows
// nothing of Kubernetes, networks or Herald.
//
// Goroutines: Run starts one for each question, so that an unanswered question does
// not keep the next one from being asked, and returns after all of them have ended.
package probe
