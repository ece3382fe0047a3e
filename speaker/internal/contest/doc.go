// SPDX-License-Identifier: Apache-2.0

// Package contest decides when an address that this node announces is somebody else's,
// too: a machine with a fixed address in the middle of a pool, say.
//
// A [Machine] is told who claims an address on the LAN (RFC 5227, section 2.4), and what
// came of asking for it. A claim alone means little: for a moment two speakers announce
// an address when it changes hands. So a claim is looked into when there has been time to
// give the address up, and again a while later: it may have changed hands once more. Who
// answers both times is a contestant, and stays one until it has been silent for a while. When
// speakers come or go, all that is not certain yet begins anew.
//
// A [Ledger] keeps what is found in a record that outlasts the Service that has the
// address, and the process: what is to be written, and which addresses to ask for that
// nobody announces any more.
//
// It must not know what is done about a contested address, nor how the LAN is asked.
// The package is pure: it is passed the time, and starts no goroutine.
package contest
