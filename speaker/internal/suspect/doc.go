// SPDX-License-Identifier: Apache-2.0

// Package suspect decides whether another speaker is gone: BFD suspects, the LAN
// confirms, gossip settles (ADR 0022).
//
// Whoever falls silent is suspected, by this speaker or by another that says so. A
// suspect is still counted as present. This speaker asks for what it would inherit from
// it on the LAN, the place where it counts: when nobody answers, the suspect is gone;
// when somebody does, it stays, however silent it is elsewhere.
//
//	BFD ── down, up ──────┐
//	gossip ── members ────┼──> Machine ──> who is present
//	others ── messages ───┤       │──> Ask: the LAN ── Answered ──┐
//	own timers ── late ───┘       └──> Tell: the others           │
//	                              ▲───────────────────────────────┘
//
// Three doubts guard against taking over what is not lost:
//
//   - A speaker whose own timers were late hears nobody. It does not suspect others, and
//     it falls silent itself until it knows whether others have replaced it.
//   - A speaker that hears nobody at all, of several, is cut off itself, so it claims
//     nothing: not before it hears anything on the LAN.
//   - A speaker that cannot ask, for want of a link, claims nothing.
//
// The package is pure: it knows no clock, no sockets and no goroutines. Time is passed
// in, and what is to be done is taken out.
package suspect
