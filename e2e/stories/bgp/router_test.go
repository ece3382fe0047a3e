// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"net/netip"
)

// router is a router as a network engineer asks it.
type router interface {
	name() string
	// peer is the address at which it expects sessions of a family, and cable the interface
	// of each node that leads to it alone.
	peer(v6 bool) string
	cable() string
	asn() uint32
	// paths returns what the router's own BGP table has for a prefix.
	paths(ctx context.Context, prefix netip.Prefix) ([]path, error)
	// established returns how many BGP sessions it has, and bfdUp how many of BFD.
	established(ctx context.Context) (int, error)
	bfdUp(ctx context.Context) (int, error)
	// Exec runs a command on it, as lab.Host does.
	Exec(ctx context.Context, program string, args ...string) (string, error)
	// show returns what somebody would look at first.
	show(ctx context.Context) string
}

// path is one way to a prefix.
type path struct {
	nextHop string
	// communities are as kubectl users write them, sorted.
	communities []string
	// localPref is what the router goes by: what it was told, or makes of it. FRR has none
	// for an external path.
	localPref uint32
	asPath    string
}
