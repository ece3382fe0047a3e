// SPDX-License-Identifier: Apache-2.0

package bgptest

// Route is a route in the table of a router, in the router's own words.
type Route struct {
	NextHops         []string
	ASPath           string
	LocalPref        uint32
	Communities      []string
	LargeCommunities []string
	// Stale says that the router keeps it through a graceful restart.
	Stale bool
}
