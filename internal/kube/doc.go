// SPDX-License-Identifier: Apache-2.0

// Package kube is Herald's adapter to the Kubernetes API: REST clients for the few
// kinds both binaries need, informers that trim objects while they arrive (ADR 0027),
// followers that keep none of them, status patches, and Events.
//
// It uses plain REST clients instead of the generated clientset, which would link
// every API group into the binaries and double their memory. It knows no rule of
// allocation or announcement; it carries objects, and package lb parses them.
//
// Goroutines: Informer.Run, Follower.Run and EventWriter.Run own all they start and return only
// after those have ended. Constructors start nothing.
package kube
