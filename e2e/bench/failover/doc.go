// SPDX-License-Identifier: Apache-2.0

// Command failover measures for how long a client is without an answer when the node that
// announces an address goes away: each fault many times, in a lab of its own.
//
//	go run ./e2e/bench/failover -nodes 3 -addresses 500 -fault cut,kill,freeze -trials 20
//
// It owns its lab and judges from outside, as a client that connects every 10 ms and waits
// 50 ms for each answer. It must not know how Herald works.
package main
