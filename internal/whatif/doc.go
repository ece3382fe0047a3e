// SPDX-License-Identifier: Apache-2.0

// Package whatif answers what an edit of the configuration would do to the addresses of
// Services: which keep, gain, move or lose theirs, and why; and what would be wrong with
// the configuration itself.
//
// It owns the comparison of before and after, and nothing else. Objects are parsed by
// package lb and addresses decided by package ipam, with the calls that the controller
// makes: a takeover of what the Services' statuses say, then new pools (ADR 0015). So
// the answer is what the controller would do, by construction.
//
// # Limits
//
// Services and namespaces are taken to stay as they are. What announces an address is
// not looked at: an edit of an advertisement or a peer changes no address. The package
// is pure: it knows no API server, no clock and no file, and starts no goroutine.
package whatif
