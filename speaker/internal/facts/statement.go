// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Statement is what a speaker says about itself: everything, or what has changed.
type Statement struct {
	Node lb.NodeName
	// Boot is greater after each start of the speaker. What it said before counts no more.
	Boot uint64
	// Seq numbers the statements of a speaker since its start, from 1. A whole one holds
	// all that was said up to its number.
	Seq uint64
	// Term is the latest that was heard of by whoever says or passes this on.
	Term uint32
	// Whole says that what is not mentioned is not so.
	Whole bool
	// About says that Subnets count; a whole statement is always about them.
	About   bool
	Subnets []netip.Prefix
	Claims  []Claim
}

// Claim is the claim of an address, or the end of one.
type Claim struct {
	Address netip.Addr
	// Home is the node that the claimant holds the address for; empty: for itself.
	Home lb.NodeName
	// Epoch orders claims of one address: the later counts.
	Epoch uint32
	// Released ends the claim.
	Released bool
}
