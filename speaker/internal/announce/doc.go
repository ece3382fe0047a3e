// SPDX-License-Identifier: Apache-2.0

// Package announce is the speaker's shell: it brings objects, members and interfaces
// together, has package plan decide, makes layer2 agree, and tells the world.
//
//	informers ──> Inventory ─┐ bell
//	vigil ──> Members ───────┤                        ┌──> layer2: Announce, Withdraw
//	gossip <──> Facts ───────┤                        │
//	rtnetlink ──> Links ─────┼──> Loop ── plan ──┬────┴──> layer2: Follow
//	file ──> Exclusions ─────┘      │            └──> reporter: log, Events, metrics
//	                                │                     └──> Statuses ──> API server
//	                                └─ route ── routes ──┬──> bgp: Advertise, Withdraw, Peers
//	                                                     └──> Guards ──> bfd
//	bfd ──> Guards ──> bgp: Hold, Release          bgp ──> Sessions ──> Events, Statuses
//	layer2 ── claims, answers ──> Contests, SelfCheck ──> Events, metrics
//
// Each changed address is decided twice: by plan for Layer 2, which elects one node, and
// by route for BGP, where every node that may advertises. The two know nothing of each
// other; an address may be announced by both.
//
// A changed Service or EndpointSlice makes the addresses of that Service dirty, and
// they alone are decided again, and those that have to move because of them. A change of
// configuration, nodes, members, subnets or interface names makes a new plan.View, and
// then every address is, unless members have gone and that is all (ADR 0032).
//
// Invariants:
//
//   - Nothing is announced or withdrawn before the informers have synced and the
//     interfaces are known, and by Layer 2 not before membership has settled. Peers are
//     dialled once the configuration is known, and hear nothing before the rest is.
//   - What has not changed is not told again: no Event, no log record, no write.
//   - A session that comes or goes concerns all Services: their statuses tell what lasts,
//     at a pace (ADR 0029).
//   - The loop never waits for the API server. Events and statuses are written in the
//     background, bounded, and retried there; those of routes, of a start, after the
//     routers know ([Statuses.After]).
//   - Services of another loadBalancerClass do not exist here.
//
// # Handover
//
// An address that goes to another node is answered for until that node says that it
// answers for all that is its own, one second at most ([Handover]). What nobody else is to
// have is given up at once.
//
// # Leaving
//
// On SIGTERM the process stops its tasks in the reverse order of their start, each
// after the one before it has ended: first gossip, whose farewell makes others take
// over; the loop goes on answering meanwhile, because a speaker never counts itself as
// gone, until those that take over say that they answer, one second at most, and then no
// more for what others have ([Loop.Depart]). It takes nothing up meanwhile, and takes nobody
// for a squatter: all speakers may be going at once. Then the loop ends, then layer2 closes
// its sockets, and nobody answers here any more. Status objects are left to their owner reference, to
// the next owner and to the sweep: deleting thousands of them is no way to leave.
//
// # Goroutines
//
// [Loop.Run] is the only goroutine that decides. [Statuses.Run] owns its writers, the
// sweeper and one that has statuses follow sessions; [Exclusions.Run] is one that looks at
// a file, [Sessions.Run] one that looks at BGP sessions, [Guards.Run] one that looks at
// peers that are held, [SelfCheck.Run] one that asks for addresses of other nodes,
// [Contests.Run] owns two that ask for ours. Callbacks of the
// Inventory run on the informers' goroutines, those of Facts on memberlist's, and do
// nothing but take note.
package announce
