// SPDX-License-Identifier: Apache-2.0

// Package selfcheck decides which addresses the next in line asks for, and when it says
// that their owner does not answer.
//
// A [Machine] takes walks: lists of all addresses there are, of which a few are looked at
// at a time, so that one walk takes as long as the interval. Those that turn out to be
// for this node to ask for wait in a queue, and are asked for one after the other. A
// silence is looked into some seconds later, several times, and only then reported:
//
//	walk ──Look──> (whose is it?) ──Queue──> queue ──┐
//	                                                 ├─Take──> (ask) ──Heard──> Change
//	   cases: in doubt, and reported ────────────────┘
//
// Nobody can wait long: the queue and the cases take turns, and a walk does not go on
// while its queue is long.
//
// It must not know what makes an address this node's to ask for, nor how one asks. The
// package is pure: it is passed the time, and starts no goroutine.
package selfcheck
