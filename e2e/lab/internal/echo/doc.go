// SPDX-License-Identifier: Apache-2.0

// Package echo is the server that the lab's pods run: over HTTP, TCP and UDP it
// tells who answers and whom it sees asking.
//
// It owns the protocol, both sides of it. It must not know about the lab.
//
// Goroutines: Serve has one for each listener, and one for each TCP connection;
// all end before it returns.
package echo
