// SPDX-License-Identifier: Apache-2.0

// Package facts is what speakers tell each other about themselves: the subnets that their
// nodes have interfaces in, and the addresses that they claim.
//
// A speaker says a [Statement] for each change, numbered, and says everything it knows
// when somebody asks. A [Board] puts together what it hears of everybody. The order does
// not matter, nor do repetitions, nor who passes a statement on: each speaker's word about
// itself counts, the latest one.
//
// # Claims
//
// A claim says that a node has an address and keeps it, for itself or for its home, a node
// that was away when the claimant took it over. It is memory, and an explicit one: without
// claims an owner follows from the objects and members alone. Claims of one address
// by several nodes, after a partition say, are settled by all speakers alike: the later
// epoch counts, then the lower name.
//
// An epoch is a number, not a time. It is the claimant's term: the latest it has heard of,
// and one more for each speaker that it has seen go. So whoever takes an address over from
// one that is gone claims later than that one, whose claim may not have been heard.
// Whoever may be cut off itself claims in epoch 0, which is earlier than all: when the
// others are back, what they have kept or taken over counts.
//
// The package is pure: no clock, no I/O, no goroutines, and no locks.
package facts
