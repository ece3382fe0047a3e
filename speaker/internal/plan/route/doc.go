// SPDX-License-Identifier: Apache-2.0

// Package route decides what this node advertises by BGP: which peers it has, and which
// prefixes each of them is told with which path attributes. It says why, too.
//
// It has three parts. [NewView] turns what concerns all Services alike (configuration
// and this node) into an immutable View, once per change of those. [View.Decide] says
// of one address which prefixes it wants advertised by which advertisements: its
// claims. A [Table] adds up the claims of all addresses, so that a prefix that several
// of them want is one path, and says what has changed:
//
//	address, Services ──> View.Decide ──> claims ──> Table.Put ──> Table.Changes
//	                           └──> decisions, with reasons
//
// Unlike Layer 2 there is no election: every node that may advertises, and routers
// spread the traffic over all of them (ECMP). What other nodes do does not matter here.
//
// Where Services with externalTrafficPolicy Local share an address, it is advertised only
// by nodes that suit all of them (ADR 0016); which these are every speaker finds alone.
//
// Invariants:
//
//   - What is advertised is a function of the objects. The order in which they arrived
//     does not matter, and changes add up to what a full recomputation finds.
//   - A changed address costs its own prefixes, however many others there are.
//   - A Service that is not advertised is a Decision with a Reason, not an error, and
//     takes nothing away from another.
//   - Advertisements that meet on a prefix add up: communities are their union, and of
//     different LOCAL_PREFs the one of the oldest counts (ADR 0013).
//
// The package is pure: no clock, no I/O, no goroutines, no logging. It does not know how
// sessions are held, nor whether they are up.
package route
