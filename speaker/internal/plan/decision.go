// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Protocol is how an address is made reachable.
type Protocol string

// The protocols, by the names that MetalLB gives them in Events and metrics.
const (
	// Layer2 is announcing by ARP and NDP.
	Layer2 Protocol = "layer2"
	// BGP is advertising to routers.
	BGP Protocol = "bgp"
)

// Sharer is a Service that holds the address to decide on, with its endpoints.
type Sharer struct {
	Service   *lb.Service
	Endpoints lb.Endpoints
}

// Verdict is what becomes of one address.
type Verdict struct {
	// Owner is the elected node; empty when nobody may announce the address.
	Owner lb.NodeName
	// Announce is true on the owner, unless it has none of the interfaces wanted.
	Announce bool
	// Interfaces are where the owner announces, sorted; nil means everywhere. On the
	// owner itself they are those that exist, or all that were wanted if none does.
	// They are shared and must not be modified.
	Interfaces []string
	// Decisions has one entry for each sharer, oldest Service first.
	Decisions []Decision
}

// Decision says what becomes of one address of one Service, and why.
type Decision struct {
	Service  lb.ServiceName
	Address  netip.Addr
	Protocol Protocol
	// Owner is the node elected for the address; empty when this Service has nothing
	// to announce, even if the address has an owner because of another Service.
	Owner lb.NodeName
	// Interfaces are those of the Verdict if Owner is set.
	Interfaces []string
	// Reason is the cause as seen from this node.
	Reason lb.Reason
}
