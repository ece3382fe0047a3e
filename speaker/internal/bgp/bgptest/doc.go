// SPDX-License-Identifier: Apache-2.0

// Package bgptest gives tests real routers to have sessions with: FRR and BIRD, each in
// a network namespace, with directories of its own. What a router has is read from its
// own table, by vtysh and birdc.
package bgptest
