// SPDX-License-Identifier: Apache-2.0

// Package ipam decides which Service gets which address.
//
// An [Allocator] owns the pools, the free space in them, the claims of all
// Services and what each of them was given. It is told one change at a time (the
// pools, a claim, a Service that is gone) and answers with every Service for
// which that change made a difference: also those that were waiting for exactly
// this address.
//
// # Invariants
//
//   - No address belongs to two Services that may not share it, and none is given
//     from outside its pool, or from a pool that does not admit the Service.
//   - An address, once given, stays, as long as a pool contains it that admits the
//     Service. A wish that cannot be granted takes nothing away, except what the
//     Service may no longer hold.
//   - An address that is reserved for a Service is given to no other, unless it may share
//     the address with that Service while it has it. A reservation takes nothing away.
//   - After each call, no waiting claim could be granted. Of several that could,
//     the oldest Service was served first.
//   - The same calls in the same order give the same answers. Ties are broken by
//     the order of pools, then of ranges, then of addresses; between Services by
//     creation time, then name. No map order, no hash and no clock takes part.
//
// # Cost
//
// The first free address, whether one is free, taking and releasing are
// O(log n) in the number of gaps of a pool, and counting is O(1), for an IPv4 /8
// as for an IPv6 /64. A change wakes one waiting Service for each kind of claim
// it could serve, not all that wait.
//
// # Limits
//
// The package is pure: it knows no API server, clock, log or lock. An Allocator
// has one owner, and starts no goroutine.
package ipam
