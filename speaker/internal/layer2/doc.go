// SPDX-License-Identifier: Apache-2.0

// Package layer2 makes addresses reachable on the links of this node: it answers
// ARP requests (RFC 826, RFC 5227) and neighbor solicitations (RFC 4861) for
// them, and announces them by gratuitous ARP and unsolicited advertisements.
//
// It owns the table of addresses, one socket per protocol and interface, the
// memberships in solicited-node multicast groups, and the pace of announcements.
// It must not know why an address is announced here: Services, elections and
// Kubernetes are not its business. Nor does it look for interfaces: it is told.
//
//	Announce, Withdraw ──> table <── looked up by ── codec (ARP or NDP)
//	                         │                        │ answers what Socket.Serve hands it
//	Follow ──> attachment ───┴─ schedule ── announcements, paced ──> Socket.Send
//
// An attachment is one protocol on one interface as it is now. When a property
// that counts changes (name, hardware address, link-local address, a flap), the
// attachment is replaced, which opens a fresh socket, joins the groups again and
// announces everything again: a recovery is the same code as a start.
//
// The kernel drops requests for other people's addresses before anybody is woken:
// each socket admits what passes a [Sieve] of the addresses announced there, made
// anew a second after the set has changed.
//
// Goroutines: Announcer.Run starts one per attachment, and that one three more:
// one that serves the socket, and sleeps on a thread of its own for that, one that
// announces, one that closes the socket at the end. All have ended when Run
// returns. The hot path, from a request to its
// answer, takes no lock and allocates nothing.
package layer2
