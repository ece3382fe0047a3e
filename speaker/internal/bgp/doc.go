// SPDX-License-Identifier: Apache-2.0

// Package bgp advertises prefixes to routers by BGP-4 (RFC 4271, RFC 4760). It is the
// adapter to gobgp and the only package that imports it; its own words are those of
// the RFCs, and no type of gobgp leaves it.
//
// It owns the sessions with the peers it is told of, and what each of them has been
// sent. It must not know why: Services, pools and Kubernetes are not its business, and
// neither is BFD, which reaches it as [Router.Hold] and [Router.Release].
//
//	Peers, Advertise, Withdraw ──> Router ──> session ── delta.Tracker ──> speaker (gobgp)
//	                                 │          │                            │
//	       Changed, Snapshot <───────┴──────────┴── states ── relay ─────────┘
//	                                                            │
//	                                                            └── TCP ──> the peer
//
// Every peer has a BGP speaker of its own: a table of what this one peer is to have,
// with its own ASN and router ID. That is what makes the export to a peer exactly the
// paths keyed by it, without a policy, and what keeps a peer that is slow, broken or
// hostile from delaying another. ADR 0011 has the reasons and the figures.
//
// Between that speaker and the peer stands a relay of our own, which has the connection:
// it dials, knows the states and the NOTIFICATIONs, and checks each message of the peer.
// gobgp gets nothing but what it is known to take (ADR 0017).
//
// Invariants:
//
//   - Nothing listens but relays, to our own process. Sessions are opened by this side
//     only.
//   - Received routes are refused: they are counted and go nowhere.
//   - A relay lets no message through before all paths are in the table, so that a peer
//     that helps a graceful restart (RFC 4724) sees End-of-RIB after the whole of it.
//   - Whatever a peer sends costs at most its own session.
//   - Only differences are sent. What has been said twice is sent once.
//   - A peer that is held is not dialled, whatever else changes, until it is released.
//
// # Leaving
//
// The context of [Router.Run] ends. The connection to a peer with graceful restart is then
// closed without a word, and the peer keeps the routes for the restart time. Any other
// peer gets a Cease. [Router.Leave] comes before that: it lowers the preference of
// everything by GRACEFUL_SHUTDOWN (RFC 8326) and waits.
//
// # Goroutines
//
// New starts nothing. [Router.Run] owns one goroutine per peer, which alone calls that
// peer's speaker and owns its relay, with at most four, and returns after they have ended.
// gobgp's own cannot be waited for: the loop of a speaker never ends, so that speakers are
// kept and used again, and there are never more of them than there were peers at one time.
package bgp
