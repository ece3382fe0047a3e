// SPDX-License-Identifier: Apache-2.0

// Package bfd watches paths to neighbors by Bidirectional Forwarding Detection:
// RFC 5880 (the protocol), 5881 (a single hop), 5883 (several hops), with RFC 5882
// in mind for those who use it. Sessions run in asynchronous mode, with the echo
// function where it is asked for; authentication and demand mode of our own are
// not there.
//
// It owns the sockets, the timers and the state of all sessions. It must not know
// what a session is for: BGP, owners of addresses and Kubernetes are not its
// business. Whoever uses a session decides what its failure means.
//
//	Set, Remove ──> session ── machine (pure: RFC 5880, section 6)
//	                  │   ▲
//	      queue ──────┤   └── readers, one for each kind of packet
//	  (one timer)     └─────> sender, a socket with a source port of its own
//	                  └─────> changes ──> Options.OnChange
//
// A machine is given packets, the time and its settings, and says what to send: it
// knows no clock and no socket, and is tested without. What is around it is the
// same for one session and for hundreds: one timer, one lock, one reader for each
// kind of packet. No packet costs a goroutine or an allocation.
//
// Before a neighbor is declared dead, what has arrived from it meanwhile is read
// first. So a process that was stopped and goes on does not accuse its neighbors;
// and when it does, it says how late it was itself (Change.SelfLate).
//
// Goroutines: New starts none. Run owns one that calls OnChange, and one for each
// open socket that receives; it is itself the one with the timer. All have ended
// when Run returns.
package bfd
