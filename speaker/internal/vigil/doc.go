// SPDX-License-Identifier: Apache-2.0

// Package vigil watches the other speakers and says which of them are present, sooner
// than gossip does (ADR 0022). It is the shell around package suspect.
//
//	bfd ── OnChange ──> Vigil ──> suspect.Machine
//	gossip ── members ──┤   │──> layer2: Ask (for what announce.Loop would inherit)
//	gossip ── messages ─┘   ├──> gossip: Tell, Seek
//	                        ├──> layer2: Extend, Renew (whether this node may answer)
//	                        └──> Alive, Changed: what announce.Loop decides by
//
// It stands in the place of gossip for the loop: Alive is gossip's, without those that
// the LAN has confirmed to be gone, and with those that gossip takes for dead and the LAN
// does not.
//
// It keeps BFD sessions with all speakers while they are few, and with those next to this
// node on a ring of names when they are many. Whoever loses one tells all, so that it need
// not be an heir itself.
//
// Goroutines: [Vigil.Run] is one that owns the machine, and one for each question that
// waits for an answer from the LAN. OnChange is called by BFD's.
package vigil
