// SPDX-License-Identifier: Apache-2.0

// Package binaries builds the Kubernetes programs of the lab once and finds them
// again.
//
// It owns the cache: a directory outside the source tree whose name holds the
// Kubernetes version and a hash of everything that decides the result. It must
// not know what the programs are used for.
//
// Goroutines: one while a build runs, which reads its output.
package binaries
