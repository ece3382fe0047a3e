// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
)

// anyPools opts in to a pair from two pools.
func anyPools(c *ipam.Claim) { c.Service.AnyPools = true }

func TestPairFromTwoPools(t *testing.T) {
	t.Parallel()
	v4a, v4b := of("192.0.2.1", "192.0.2.3"), of("198.51.100.1", "198.51.100.3")
	v6a, v6b := of("2001:db8:a::1", "2001:db8:a::3"), of("2001:db8:b::1", "2001:db8:b::3")
	for name, tell := range map[string]func(d *desk){
		"only who opts in": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("strict", requires)
			d.want("strict", "FamilyMissing")
			d.says("strict", "herald-lb.io/dual-stack-from", "any-pools", "four, six")
			d.claim("requires", requires, anyPools)
			d.want("requires", "192.0.2.1,2001:db8:a::1 four,six Allocated")
			d.claim("prefers", prefersV6, anyPools)
			d.want("prefers", "192.0.2.2,2001:db8:a::2 four,six Allocated")
			d.claim("single", anyPools)
			d.want("single", "192.0.2.3 four Allocated")
		},
		"one pool with both comes before two, also a later one": func(d *desk) {
			d.pools(pool("a", v4a, pinned(toNamespace("shop"))), pool("b", v6a), pool("z", v4b, v6b))
			d.claim("s", prefers, anyPools)
			d.want("s", "198.51.100.1,2001:db8:b::1 z Allocated")
			d.claim("strict", prefers)
			d.want("strict", "192.0.2.1 a Allocated")
		},
		"no jump to a pool with both that comes later": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("s", requires, anyPools)
			d.pools(pool("both", v4b, v6b), pool("four", v4a), pool("six", v6a))
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
			d.claim("s", requires)
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
		},
		"the missing family is gained from another pool, and the first stays": func(d *desk) {
			d.pools(pool("four", v4a))
			d.claim("s", prefers, anyPools)
			d.want("s", "192.0.2.1 four Allocated")
			d.says("s", "no pool that may serve this Service has IPv6", "four")
			d.pools(pool("four", v4a), pool("six", of("2001:db8:a::1", "2001:db8:a::1")))
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
			d.claim("t", prefers, anyPools)
			d.want("t", "192.0.2.2 four Allocated")
			d.says("t", "in use", "six (1 IPv6)")
			d.release("s")
			d.want("t", "192.0.2.2,2001:db8:a::1 four,six Allocated")
		},
		"who opts in later gains it at once": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("s", prefers)
			d.want("s", "192.0.2.1 four Allocated")
			d.says("s", "both must be from one pool, unless", "any-pools")
			d.claim("s", prefers, anyPools)
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
		},
		"an address that goes is replaced, and the other one stays": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a), pool("z", v4b, v6b))
			d.claim("s", requires, anyPools)
			d.want("s", "198.51.100.1,2001:db8:b::1 z Allocated")
			d.pools(pool("four", v4a), pool("six", v6a), pool("z", v4b))
			d.want("s", "198.51.100.1,2001:db8:a::1 z,six Allocated")
			if o := d.last["s"]; o.Cause != "no pool contains 2001:db8:b::1" {
				d.Errorf("it lost one because %q", o.Cause)
			}
			d.pools(pool("four", v4a), pool("z", v4b))
			d.want("s", "FamilyMissing")
			d.says("s", "has IPv6 addresses")
		},
		"a full pool": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", of("2001:db8:a::1", "2001:db8:a::1")))
			d.claim("one", requires, anyPools)
			d.claim("two", requires, anyPools)
			d.want("two", "PoolFull")
			d.says("two", "each family", "four (3 IPv4)", "six (1 IPv6)")
			d.release("one")
			d.want("two", "192.0.2.1,2001:db8:a::1 four,six Allocated")
		},
		"who agrees does not wait behind one who does not": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", of("2001:db8:a::1", "2001:db8:a::1")))
			d.claim("holder", v6Only)
			d.claim("strict", requires)
			d.claim("mixed", requires, anyPools)
			d.want("mixed", "PoolFull")
			d.release("holder")
			d.want("mixed", "192.0.2.1,2001:db8:a::1 four,six Allocated")
			d.want("strict", "FamilyMissing")
		},
		"a named pool is the only one": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("s", prefers, anyPools, inPool("four"))
			d.want("s", "192.0.2.1 four Allocated")
		},
		"requested addresses in two pools": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("strict", requires, asks("2001:db8:a::2", "192.0.2.2"))
			d.want("strict", "OutsidePools")
			d.says("strict", "pool four", "pool six", "any-pools")
			d.claim("s", requires, anyPools, asks("2001:db8:a::2", "192.0.2.2"))
			d.want("s", "2001:db8:a::2,192.0.2.2 six,four Allocated")
			d.pools(pool("fore", v4a), pool("six", v6a))
			d.want("s", "2001:db8:a::2,192.0.2.2 six,fore Allocated")
		},
		"pinning holds for each of the two": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a, pinned(toNamespace("bank"))))
			d.claim("s", requires, anyPools)
			d.want("s", "FamilyMissing")
			d.pools(pool("four", v4a), pool("six", v6a, pinned(toNamespace("shop"))))
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
		},
		"both pools break, and a restart keeps both addresses": func(d *desk) {
			both := found("four,six", "192.0.2.1", "2001:db8:a::1")
			d.pools(pool("four", broken), pool("six", broken))
			if o := d.adopt("s", requires, anyPools, both); o.Cause != "" {
				d.Errorf("an address was lost: %s", o.Cause)
			}
			d.claim("s", requires, anyPools, both)
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six PoolBroken")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newDesk(t))
		})
	}
}
