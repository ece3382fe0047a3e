// SPDX-License-Identifier: Apache-2.0

// Command failover measures what a client misses when nodes fail, leave, or do not hear each
// other: each fault many times, in a lab of its own.
//
//	go run ./e2e/bench/failover -nodes 3,9 -addresses 1,500 -fault cut,kill,freeze -trials 20
//	go run ./e2e/bench/failover -nodes 4 -addresses 20 -fault partition,oneway
//	go run ./e2e/bench/failover -nodes 3 -addresses 3 -fault roll,drain -trials 1
//	go run ./e2e/bench/failover -nodes 3 -addresses 4 -load 2 -loss 5 -soak 3m
//
// For cut, kill and freeze a client connects every 10 ms to a few of the victim's addresses
// and waits 50 ms for each answer; the figure is the longest time without one. Both families
// are asked for in the same trial: Services have an address of each. A trial begins when
// the one before is over: addresses are back, and every speaker hears all that it watches.
//
// For partition and oneway a capture on the client's side tells for how long after the healing
// more than one node answers; for roll and drain requests that fail and connections that
// break are counted.
//
// It owns its lab and judges from outside. Of Herald it knows its flags, and the metrics
// that tell when a fault is over.
package main
