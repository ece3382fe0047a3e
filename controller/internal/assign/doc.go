// SPDX-License-Identifier: Apache-2.0

// Package assign is the controller's shell around package ipam: it feeds claims in
// and writes what comes out to the API server.
//
// It owns the leader's term, the order of the takeover, the work queue, the writes
// to Services and configuration objects, AddressReservations and how long they last,
// Events about assignment, the controller's metrics and the memberlist Secret. Which address a Service gets is none of its
// business: that is decided in ipam, and what an object means in package lb.
//
//	informers --keys--> decider --states---> outbox ----patches--> API server
//	                    (ipam)  --usages---> reporter --patches--/
//	                 (custodian)--filings--> registrar --writes-/
//
// The decision precedes the write: an address is taken in memory before its patch
// is sent, and a patch that fails is repeated without deciding again. A term that
// ends drops all of its memory; the next one begins with what the API server has.
//
// # One address, one status
//
// Memory and the API server disagree for as long as a write takes. Three rules keep
// that from being seen as one address in two statuses, also by a replica that takes
// over in between: a leader decides nothing before its informers show what the last
// one wrote; the write that gives an address waits for the write that takes it from
// another Service; and no write is sent once the Lease may have run out.
//
// # Limits
//
// Services are watched by their type. One that stops being a load balancer while no
// replica leads keeps its pool annotation and condition (not its address, which the
// API server clears) until it is a load balancer again. Two Services that ask for
// each other's address wait for each other: neither gives up what it has.
//
// # Goroutines
//
// [Controller.Run] owns all of them and returns after they have ended: one of each
// informer, the candidate for the Lease, and while leading the decider and its
// sweeper, the writers of the outbox and of the registrar, the reporter, the Event
// writer and the keeper of the Secret. Only the decider touches ipam and the custodian.
package assign
