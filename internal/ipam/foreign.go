// SPDX-License-Identifier: Apache-2.0

package ipam

import "slices"

// recognize returns what a Foreign claimant has, by its status, of addresses that pools
// contain and nobody else has. For the others it waits: when they become free they must
// not be given to anybody.
func (a *Allocator) recognize(c *claimant) decision {
	d := decision{cause: "the status of the Service does not show it any more"}
	for _, addr := range c.claim.Service.Addresses {
		g, ok := a.home(addr, c.claim.Service.PoolOf(addr))
		if !ok || slices.Contains(d.grants, g) {
			continue
		}
		if t, ok := a.tenancies[addr]; ok && slices.ContainsFunc(t.holders, func(h *claimant) bool { return h != c }) {
			d.waits.addrs = append(d.waits.addrs, addr)
			continue
		}
		d.grants = append(d.grants, g)
	}
	return d
}
