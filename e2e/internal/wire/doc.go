// SPDX-License-Identifier: Apache-2.0

// Package wire looks at a LAN from one host's interface: who answers for an address,
// who claims one unasked, and what happens to those who receive garbage.
//
// It uses sockets of its own, not the host's neighbour table, so that it sees every
// answer and not only the one that the kernel kept. It knows nothing of Kubernetes or
// of who should answer.
//
// Goroutines: none. Sockets are opened inside the given namespace and closed before
// each function returns.
package wire
