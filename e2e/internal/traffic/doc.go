// SPDX-License-Identifier: Apache-2.0

// Package traffic is what clients do all the time while something happens to the addresses
// that they use: requests, each over a connection of its own, and connections that stay open.
// It counts what fails, and puts nothing again.
//
// It owns the load and the count. What an address is, and how it is reached, it is told.
//
// Goroutines: Run starts those of each probe, and one for each connection, and returns after
// all of them have ended.
package traffic
