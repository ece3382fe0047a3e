// SPDX-License-Identifier: Apache-2.0

// Package lb is Herald's domain model: what a pool, an advertisement, a Service
// and a node are once they have been read and found valid.
//
// Parse functions turn Kubernetes objects into these values exactly once, at the
// edge. Past them no string is parsed again, and an invalid object is a Problem
// on that object, never an error that stops the others.
//
// The package is pure: no clock, no I/O, no goroutines. Its values are treated as
// immutable after they were built and may then be shared between goroutines.
package lb
