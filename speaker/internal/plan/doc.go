// SPDX-License-Identifier: Apache-2.0

// Package plan decides, for each address, which node owns it and whether this node
// announces it, and says why.
//
// It has three steps. [NewView] turns everything that concerns all Services alike
// (configuration, nodes, live members) into an immutable View, once per change of
// those. [Ownership.Put] then finds the candidates of one address at a time from the View
// and the Services that hold the address. [Ownership.Settle] spreads the addresses that
// have the same candidates evenly over these: the cost of a changed Service, and by
// [Ownership.Lose] that of a member that is gone, is that of the addresses that move.
//
// Invariants:
//
//   - A decision is a function of what has been put in. There is no memory but claims,
//     which are put in as well, so the order in which objects arrived cannot matter, and
//     speakers with equal views agree.
//   - An address has one owner or none, however many Services share it.
//   - A Service that cannot be announced is a Decision with a Reason, not an error.
//   - A Service that cannot be announced never takes its address away from another.
//
// The package is pure: no clock, no I/O, no goroutines, no logging. It does not know
// how addresses are announced, nor how members are found.
package plan
