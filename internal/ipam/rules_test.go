// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

func TestRules(t *testing.T) {
	t.Parallel()
	v4a, v4b := of("192.0.2.1", "192.0.2.3"), of("198.51.100.1", "198.51.100.3")
	v6a, v6b := of("2001:db8:a::1", "2001:db8:a::3"), of("2001:db8:b::1", "2001:db8:b::3")
	for name, tell := range map[string]func(d *desk){
		"first free address, in the order of pools and ranges": func(d *desk) {
			d.pools(pool("a", of("192.0.2.9", "192.0.2.9"), of("192.0.2.1", "192.0.2.1")), pool("b", v4b))
			for i, want := range []string{"192.0.2.9 a", "192.0.2.1 a", "198.51.100.1 b"} {
				d.claim(fmt.Sprint("s", i))
				d.want(fmt.Sprint("s", i), want+" Allocated")
			}
			d.release("s1")
			d.claim("s3")
			d.want("s3", "192.0.2.1 a Allocated")
		},
		"no pool": func(d *desk) {
			d.claim("s")
			d.want("s", "NoPool")
			d.says("s", "create an IPAddressPool")
			d.pools(pool("a", broken))
			d.want("s", "NoPool")
			d.says("s", "invalid", "IPAddressPool a")
			d.pools(pool("a", v4a))
			d.want("s", "192.0.2.1 a Allocated")
		},
		"autoAssign false only serves those who name the pool or an address": func(d *desk) {
			d.pools(pool("a", v4a, manual))
			d.claim("auto")
			d.want("auto", "NoMatchingPool")
			d.claim("named", inPool("a"))
			d.want("named", "192.0.2.1 a Allocated")
			d.claim("asks", asks("192.0.2.3"))
			d.want("asks", "192.0.2.3 a Allocated")
		},
		"named pool": func(d *desk) {
			d.pools(pool("a", v4a), pool("b", of("198.51.100.1", "198.51.100.1")), pool("six", v6a), pool("bad", broken))
			d.claim("s", inPool("b"))
			d.want("s", "198.51.100.1 b Allocated")
			d.claim("full", inPool("b"))
			d.want("full", "PoolFull")
			d.says("full", "b (1 IPv4)")
			d.claim("unknown", inPool("zzz"))
			d.want("unknown", "UnknownPool")
			d.claim("family", inPool("six"))
			d.want("family", "FamilyMissing")
			d.claim("bad", inPool("bad"))
			d.want("bad", "PoolBroken")
		},
		"a changed wish moves the Service, once it can be granted": func(d *desk) {
			d.pools(pool("a", v4a), pool("b", of("198.51.100.1", "198.51.100.1")))
			d.claim("other", inPool("b"))
			d.claim("s")
			d.want("s", "192.0.2.1 a Allocated")
			d.claim("s", inPool("b"))
			d.want("s", "192.0.2.1 a PoolFull")
			d.release("other")
			d.want("s", "198.51.100.1 b Allocated")
			if o := d.last["s"]; o.Cause != "the Service asks for pool b" || o.Previous[0] != netip.MustParseAddr("192.0.2.1") {
				d.Errorf("it moved from %v because %q", o.Previous, o.Cause)
			}
			d.claim("s", inPool("b"), func(c *ipam.Claim) { c.Service.Pool = "" })
			d.want("s", "198.51.100.1 b Allocated")
		},
		"requested addresses": func(d *desk) {
			d.pools(pool("a", v4a, v6a), pool("b", v4b))
			d.claim("s", asks("192.0.2.2"))
			d.want("s", "192.0.2.2 a Allocated")
			d.claim("taken", asks("192.0.2.2"))
			d.want("taken", "AddressInUse")
			d.says("taken", "192.0.2.2", "shop/s")
			d.claim("outside", asks("203.0.113.1"))
			d.want("outside", "OutsidePools")
			d.claim("elsewhere", asks("192.0.2.3"), inPool("b"))
			d.want("elsewhere", "OutsidePools")
			d.says("elsewhere", "pool a", "pool b")
			d.claim("family", asks("2001:db8:a::1"))
			d.want("family", "InvalidService")
			d.claim("parted", asks("198.51.100.1", "2001:db8:a::1"), requires)
			d.want("parted", "OutsidePools")
			d.claim("half", asks("192.0.2.3"), requires)
			d.want("half", "InvalidService")
			d.claim("both", asks("2001:db8:a::3", "192.0.2.3"), requires)
			d.want("both", "2001:db8:a::3,192.0.2.3 a Allocated")
			d.claim("one", asks("2001:db8:a::2"), prefers)
			d.want("one", "2001:db8:a::2 a Allocated")
			d.release("s")
			d.want("taken", "192.0.2.2 a Allocated")
		},
		"an impossible request takes nothing away": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("s")
			d.claim("s", asks("203.0.113.1"))
			d.want("s", "192.0.2.1 a OutsidePools")
			d.claim("s", func(c *ipam.Claim) { c.Invalid = "metadata.annotations: nonsense" })
			d.want("s", "192.0.2.1 a InvalidService")
			d.claim("new", func(c *ipam.Claim) { c.Invalid = "nonsense" })
			d.want("new", "InvalidService")
		},
		"buggy addresses are given to nobody": func(d *desk) {
			d.pools(pool("a", of("192.0.2.254", "192.0.3.1"), noBuggy))
			for i, want := range []string{"192.0.2.254 a Allocated", "192.0.3.1 a Allocated", "PoolFull"} {
				d.claim(fmt.Sprint("s", i))
				d.want(fmt.Sprint("s", i), want)
			}
			d.claim("asks", asks("192.0.2.255"))
			d.want("asks", "OutsidePools")
			d.says("asks", "pool a has 192.0.2.255", "avoidBuggyIPs")
		},
		"pinned pools come first, by priority": func(d *desk) {
			d.pools(pool("first", of("192.0.2.1", "192.0.2.1"), pinned(toNamespace("shop"))),
				pool("second", of("192.0.2.2", "192.0.2.2"), pinned()), pool("any", v4b))
			for i, want := range []string{"192.0.2.1 first", "192.0.2.2 second", "198.51.100.1 any"} {
				d.claim(fmt.Sprint("s", i))
				d.want(fmt.Sprint("s", i), want+" Allocated")
			}
		},
		"pinning by namespace labels and Service labels": func(d *desk) {
			d.pools(pool("gold", v4a, pinned(toNamespaces("tier", "gold"), toServices("lb", "public"))))
			d.claim("s", inNamespace("tier", "gold"))
			d.want("s", "NoMatchingPool")
			d.claim("s", inNamespace("tier", "gold"), labelled("lb", "public"))
			d.want("s", "192.0.2.1 gold Allocated")
			d.claim("s", inNamespace("tier", "lead"), labelled("lb", "public"))
			d.want("s", "NoMatchingPool")
		},
		"pinning binds those who ask, too": func(d *desk) {
			d.pools(pool("a", v4a, pinned(toNamespace("bank"))), pool("b", v4b))
			d.claim("asks", asks("192.0.2.1"))
			d.want("asks", "NotAllowed")
			d.claim("named", inPool("a"))
			d.want("named", "NotAllowed")
			d.claim("auto")
			d.want("auto", "198.51.100.1 b Allocated")
			d.pools(pool("a", v4a, pinned(toNamespace("shop"))), pool("b", v4b))
			d.want("asks", "192.0.2.1 a Allocated")
			d.want("auto", "198.51.100.1 b Allocated")
		},
		"single stack takes its family only": func(d *desk) {
			d.pools(pool("a", v4a, v6a))
			d.claim("four")
			d.want("four", "192.0.2.1 a Allocated")
			d.claim("six", v6Only)
			d.want("six", "2001:db8:a::1 a Allocated")
		},
		"RequireDualStack takes both from one pool or nothing": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a))
			d.claim("s", requires)
			d.want("s", "FamilyMissing")
			d.pools(pool("both", v4b, v6b), pool("four", v4a), pool("six", v6a))
			d.want("s", "198.51.100.1,2001:db8:b::1 both Allocated")
			d.claim("wrong", dual(corev1.IPFamilyPolicyRequireDualStack, lb.IPv4))
			d.want("wrong", "InvalidService")
		},
		"PreferDualStack: a pool with both, else the primary family, else the other": func(d *desk) {
			d.pools(pool("four", v4a), pool("six", v6a), pool("two", of("198.51.100.1", "198.51.100.1"), of("2001:db8:b::1", "2001:db8:b::1")))
			d.claim("s0", prefersV6)
			d.want("s0", "198.51.100.1,2001:db8:b::1 two Allocated")
			d.claim("s1", prefers)
			d.want("s1", "192.0.2.1 four Allocated")
			d.says("s1", "IPv6")
			d.claim("s2", prefersV6)
			d.want("s2", "2001:db8:a::1 six Allocated")
			d.release("s0")
			d.release("s1")
			d.pools(pool("six", v6a))
			d.claim("s3", prefers)
			d.want("s3", "2001:db8:a::2 six Allocated")
		},
		"PreferDualStack gains the missing family from the same pool, and keeps the first": func(d *desk) {
			d.pools(pool("a", v6a))
			d.claim("s", prefers)
			d.want("s", "2001:db8:a::1 a Allocated")
			d.pools(pool("a", v6a), pool("both", v4b, v6b))
			d.want("s", "2001:db8:a::1 a Allocated")
			d.says("s", "pool a,", "no IPv4", "one pool") // it is not that there are none
			d.pools(pool("a", v6a, of("192.0.2.1", "192.0.2.1")), pool("both", v4b, v6b))
			d.want("s", "2001:db8:a::1,192.0.2.1 a Allocated")
		},
		"PreferDualStack gains the missing family when it becomes free": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1"), v6a))
			d.claim("four")
			d.claim("s", prefers)
			d.want("s", "2001:db8:a::1 a Allocated")
			d.says("s", "in use", "a (1 IPv4)")
			d.release("four")
			d.want("s", "2001:db8:a::1,192.0.2.1 a Allocated")
		},
		"Prefer becomes Require and Prefer again": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("s", prefers)
			d.claim("s", requires)
			d.want("s", "FamilyMissing")
			d.claim("s", prefers)
			d.want("s", "192.0.2.1 a Allocated")
		},
		"Prefer becomes Single": func(d *desk) {
			d.pools(pool("a", v4a, v6a))
			d.claim("s", prefers)
			d.claim("s", v6Only)
			d.want("s", "2001:db8:a::1 a Allocated")
		},
		"a dual pool that becomes single moves those who prefer both to another dual pool": func(d *desk) {
			d.pools(pool("a", v4a, v6a), pool("b", v4b, v6b))
			d.claim("s", prefers)
			d.want("s", "192.0.2.1,2001:db8:a::1 a Allocated")
			d.pools(pool("a", v4a), pool("b", v4b, v6b))
			d.want("s", "198.51.100.1,2001:db8:b::1 b Allocated")
			d.pools(pool("a", v4a), pool("b", v4b))
			d.want("s", "198.51.100.1 b Allocated")
		},
		"an address stays while a pool contains it that admits the Service": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("s")
			d.pools(pool("aa", of("192.0.2.0", "192.0.2.255"))) // renamed and widened
			d.want("s", "192.0.2.1 aa Allocated")
			d.pools(pool("aa", of("192.0.2.1", "192.0.2.1"), manual), pool("z", v4b)) // shrunk, and no more autoAssign
			d.want("s", "192.0.2.1 aa Allocated")
			d.pools(pool("aa", of("192.0.2.2", "192.0.2.9")))
			d.want("s", "192.0.2.2 aa Allocated")
			d.pools()
			d.want("s", "NoPool")
		},
		"a pair stays when a split parts it": func(d *desk) {
			d.pools(pool("a", v4a, v6a))
			d.claim("s", requires)
			d.pools(pool("four", v4a), pool("six", v6a))
			d.want("s", "192.0.2.1,2001:db8:a::1 four,six Allocated")
		},
		"a broken pool takes nothing away and gives nothing": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("s")
			d.pools(pool("a", broken))
			d.want("s", "192.0.2.1 a PoolBroken")
			d.claim("new", asks("192.0.2.1"))
			d.want("new", "OutsidePools")
			d.pools(pool("a", v4a))
			d.want("s", "192.0.2.1 a Allocated")
			d.want("new", "AddressInUse")
		},
		"those who wait are served oldest first": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			for _, name := range []string{"holder", "older", "younger"} {
				d.claim(name)
			}
			d.release("holder")
			d.want("older", "192.0.2.1 a Allocated")
			d.want("younger", "PoolFull")
		},
		"sharing: same key and other ports": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("web", shares("k", 80))
			d.claim("tls", shares("k", 443))
			d.want("tls", "192.0.2.1 a Allocated")
			d.claim("again", shares("k", 80))
			d.want("again", "192.0.2.2 a Allocated")
			d.claim("other", shares("j", 25))
			d.want("other", "192.0.2.3 a Allocated")
		},
		"sharing refused: every reason by name": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("web", shares("k", 80), asks("192.0.2.1"))
			d.claim("port", shares("k", 80, 81), asks("192.0.2.1"))
			d.want("port", "SharingRefused")
			d.says("port", "TCP/80", "shop/web")
			d.claim("key", shares("j", 81), asks("192.0.2.1"))
			d.want("key", "SharingRefused")
			d.says("key", `"k"`, `"j"`, "shop/web")
			d.claim("local", shares("k", 81), local("app=x"), asks("192.0.2.1"))
			d.want("local", "SharingRefused")
			d.says("local", "externalTrafficPolicy")
			d.claim("private", asks("192.0.2.1"))
			d.want("private", "AddressInUse")
			d.claim("l1", shares("k", 81), local("app=x"), asks("192.0.2.2"))
			d.claim("l2", shares("k", 82), local("app=x"), asks("192.0.2.2"))
			d.want("l2", "192.0.2.2 a Allocated")
			d.claim("l3", shares("k", 83), local("app=y"), asks("192.0.2.2"))
			d.want("l3", "SharingRefused")
			d.says("l3", "selector", "shop/l1")
			d.release("web")
			d.want("port", "192.0.2.1 a Allocated")
		},
		"sharing with another selector, if all agree to it": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("l1", shares("k", 81), local("app=x"), agrees)
			d.claim("l2", shares("k", 82), local("app=y"), agrees)
			d.want("l2", "192.0.2.1 a Allocated")
			d.claim("l3", shares("k", 83), local("app=x"))
			d.want("l3", "192.0.2.2 a Allocated")
			d.claim("l4", shares("k", 84), local("app=z"), agrees, asks("192.0.2.2"))
			d.want("l4", "SharingRefused")
			d.says("l4", "selector", "allow-local-sharing", "missing from shop/l3")
			d.claim("l5", shares("k", 85), local("app=z"), asks("192.0.2.1"))
			d.want("l5", "SharingRefused")
			d.says("l5", "missing from this one")
			d.claim("l6", shares("k", 86), local("app=z"), asks("192.0.2.2"))
			d.says("l6", "missing from shop/l3 and this one")
			d.claim("cluster", shares("k", 87), asks("192.0.2.1"), agrees)
			d.want("cluster", "SharingRefused")
			d.says("cluster", "externalTrafficPolicy")
		},
		"who does not agree to other selectors any more loses the address": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			d.claim("l1", shares("k", 81), local("app=x"), agrees)
			d.claim("l2", shares("k", 82), local("app=y"), agrees)
			d.want("l2", "192.0.2.1 a Allocated")
			d.claim("l2", shares("k", 82), local("app=y"))
			d.want("l2", "PoolFull")
			if c := d.last["l2"].Cause; !strings.Contains(c, "allow-local-sharing") {
				d.Errorf("it lost the address because %q", c)
			}
			d.want("l1", "192.0.2.1 a Allocated")
			d.claim("l2", shares("k", 82), local("app=x"))
			d.want("l2", "192.0.2.1 a Allocated")
		},
		"sharing is looked at again when a claim changes": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			d.claim("x", shares("k", 80))
			d.claim("y", shares("k", 81))
			d.claim("y", shares("k", 81), local("app=y"))
			d.want("y", "PoolFull")
			d.claim("x", shares("k", 80), local("app=y"))
			d.want("y", "192.0.2.1 a Allocated")
		},
		"sharing: the only holder may change its key": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			d.claim("x", shares("k", 80))
			d.claim("x", shares("j", 80))
			d.want("x", "192.0.2.1 a Allocated")
			d.claim("y", shares("j", 81))
			d.want("y", "192.0.2.1 a Allocated")
		},
		"adoption: the oldest keeps what two were found with": func(d *desk) {
			d.pools(pool("a", v4a))
			if o := d.adopt("first", found("a", "192.0.2.2")); o.Cause != "" {
				d.Errorf("the oldest was not adopted: %s", o.Cause)
			}
			if o := d.adopt("second", found("a", "192.0.2.2")); !strings.Contains(o.Cause, "shop/first") {
				d.Errorf("the second was adopted, or the cause %q does not say who is first", o.Cause)
			}
			d.claim("new")
			d.want("new", "192.0.2.1 a Allocated")
		},
		"what a Service of another class shows is given to nobody": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("theirs", foreign, found("a", "192.0.2.1"))
			d.want("theirs", "192.0.2.1 a OtherClass")
			d.claim("asks", asks("192.0.2.1"), shares("k", 81))
			d.want("asks", "AddressInUse")
			d.says("asks", "shop/theirs", "loadBalancerClass")
			d.claim("ours")
			d.want("ours", "192.0.2.2 a Allocated")
			d.release("ours")
			d.pools(pool("b", v4b))
			d.want("theirs", "OtherClass")
			d.pools(pool("a", v4a, pinned(toNamespace("elsewhere"))), pool("b", v4b))
			d.want("theirs", "192.0.2.1 a OtherClass") // whoever gave it did not ask our pools
			d.claim("theirs", foreign)
			d.want("theirs", "OtherClass")
			d.pools(pool("a", v4a))
			d.want("asks", "192.0.2.1 a Allocated")
		},
		"what ours has stays so when another class shows it too, and is given to nobody after": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			d.claim("ours")
			d.claim("theirs", foreign, found("a", "192.0.2.1"))
			d.want("ours", "192.0.2.1 a Allocated")
			d.claim("next")
			d.release("ours")
			d.want("theirs", "192.0.2.1 a OtherClass")
			d.want("next", "PoolFull")
		},
		"adoption from a broken pool": func(d *desk) {
			d.pools(pool("a", broken), pool("b", v4b))
			d.adopt("s", found("a", "192.0.2.2"))
			d.claim("s", found("a", "192.0.2.2"))
			d.want("s", "192.0.2.2 a PoolBroken")
			if o := d.adopt("stray", found("gone", "192.0.2.3")); len(o.Addresses) > 0 || o.Cause == "" {
				d.Errorf("an address from nowhere was adopted: %+v", o)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newDesk(t))
		})
	}
}

func TestUsages(t *testing.T) {
	t.Parallel()
	d := newDesk(t, pool("a", of("192.0.2.0", "192.0.2.3"), noBuggy), pool("big", of("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")))
	d.claim("x", shares("k", 80))
	d.claim("y", shares("k", 81))
	d.claim("z", v6Only)
	want := []ipam.Usage{
		{Pool: "a", AssignedIPv4: 1, AvailableIPv4: 2},
		{Pool: "big", AssignedIPv6: 1, AvailableIPv6: math.MaxInt64},
	}
	if got := d.a.Usages(); !slices.Equal(got, want) {
		t.Errorf("usages %+v, want %+v", got, want)
	}
}

func TestReleaseOfAStrangerChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, pool("a", of("192.0.2.1", "192.0.2.1")))
	d.claim("s")
	if out := d.a.Release(lb.ServiceName{Namespace: "shop", Name: "stranger"}); len(out) > 0 {
		t.Errorf("outcomes %+v, want none", out)
	}
	d.want("s", "192.0.2.1 a Allocated")
}
