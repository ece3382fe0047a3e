// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// reserve makes one reservation, named like its Service, the only one for that Service.
func (d *desk) reserve(service string, edits ...func(*ipam.Reservation)) {
	d.seq++
	name := lb.ServiceName{Namespace: "shop", Name: service}
	r := ipam.Reservation{Reservation: &lb.Reservation{
		Name: lb.ReservationName(name), Created: time.Unix(d.seq, 0), Service: name,
	}}
	for _, edit := range edits {
		edit(&r)
	}
	d.note(d.a.Reserve(name, []ipam.Reservation{r}))
}

func (d *desk) unreserve(service string) {
	d.note(d.a.Reserve(lb.ServiceName{Namespace: "shop", Name: service}, nil))
}

// stands expects "Reason [bound] [held]" of a reservation whose standing has changed.
func (d *desk) stands(name, want string, words ...string) {
	d.Helper()
	for _, s := range d.a.Standings() {
		if s.Name.Name != name {
			continue
		}
		got := s.Reason.String()
		if s.Bound {
			got += " bound"
		}
		if s.Held {
			got += " held"
		}
		if got != want {
			d.Errorf("reservation %s stands as %q, want %q (%s)", name, got, want, s.Message)
		}
		for _, w := range words {
			if !strings.Contains(s.Message, w) {
				d.Errorf("the message about reservation %s, %q, does not say %q", name, s.Message, w)
			}
		}
		return
	}
	d.Errorf("nothing is said about reservation %s, want %q", name, want)
}

func keep(list ...string) func(*ipam.Reservation) {
	return func(r *ipam.Reservation) {
		for _, a := range list {
			r.Addresses = append(r.Addresses, netip.MustParseAddr(a))
		}
	}
}

func keyed(key string) func(*ipam.Reservation) {
	return func(r *ipam.Reservation) { r.SharingKey = key }
}

func TestReservations(t *testing.T) {
	t.Parallel()
	v4a, v6a := of("192.0.2.1", "192.0.2.3"), of("2001:db8:a::1", "2001:db8:a::3")
	for name, tell := range map[string]func(d *desk){
		"nobody is given what is kept for another": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("web", keep("192.0.2.1"))
			d.stands("web", "Accepted held", "192.0.2.1", "shop/web")
			d.claim("first")
			d.want("first", "192.0.2.2 a Allocated")
			d.claim("asks", asks("192.0.2.1"))
			d.want("asks", "Reserved")
			d.says("asks", "192.0.2.1", "Service shop/web", "AddressReservation shop/web")
			d.claim("second")
			d.claim("third")
			d.want("third", "PoolFull")
			d.claim("web")
			d.want("web", "192.0.2.1 a Allocated")
			d.stands("web", "Accepted bound held", "shop/web has 192.0.2.1")
			d.release("web")
			d.want("third", "PoolFull")
			d.unreserve("web")
			d.want("asks", "192.0.2.1 a Allocated") // it is older than third
			d.want("third", "PoolFull")
		},
		"who has it keeps it, and after him the owner gets it": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.2")))
			d.claim("holder")
			d.claim("other")
			d.reserve("web", keep("192.0.2.1"))
			d.stands("web", "AddressInUse", "shop/holder")
			d.claim("waiting")
			d.claim("web")
			d.want("web", "PoolFull")
			d.want("holder", "192.0.2.1 a Allocated")
			d.release("holder")
			d.want("web", "192.0.2.1 a Allocated")
			d.want("waiting", "PoolFull")
		},
		"nobody is moved to what is kept for him": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("web")
			d.reserve("web", keep("192.0.2.3"))
			d.want("web", "192.0.2.1 a Allocated")
			d.stands("web", "Accepted held", "192.0.2.3", "keeps 192.0.2.1")
			d.release("web")
			d.claim("web")
			d.want("web", "192.0.2.3 a Allocated")
		},
		"who asks for another address, or another pool, gets that": func(d *desk) {
			d.pools(pool("a", v4a), pool("b", of("198.51.100.1", "198.51.100.3")))
			d.reserve("web", keep("192.0.2.2"))
			d.claim("web", asks("192.0.2.3"))
			d.want("web", "192.0.2.3 a Allocated")
			d.claim("web", inPool("b"))
			d.want("web", "198.51.100.1 b Allocated")
			d.claim("web", inPool("a"))
			d.want("web", "192.0.2.2 a Allocated")
		},
		"a pool without autoAssign gives what is kept in it": func(d *desk) {
			d.pools(pool("a", v4a), pool("m", of("198.51.100.1", "198.51.100.3"), manual))
			d.reserve("web", keep("198.51.100.2"))
			d.claim("web")
			d.want("web", "198.51.100.2 m Allocated")
			d.claim("web")
			d.want("web", "198.51.100.2 m Allocated")
		},
		"if it cannot be had, another is better than none": func(d *desk) {
			d.pools(pool("a", v4a))
			d.claim("holder")
			d.reserve("web", keep("192.0.2.1"))
			d.claim("web")
			d.want("web", "192.0.2.2 a Allocated")
			d.release("holder")
			d.want("web", "192.0.2.2 a Allocated")
		},
		"the oldest reservation prevails, and the next one after it": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("old", keep("192.0.2.1"))
			d.reserve("young", keep("192.0.2.1"))
			d.stands("young", "Conflict", "shop/old")
			d.claim("young")
			d.want("young", "192.0.2.2 a Allocated")
			d.release("young")
			d.unreserve("old")
			d.stands("young", "Accepted held")
			d.claim("old")
			d.claim("young")
			d.want("young", "192.0.2.1 a Allocated")
		},
		"outside the pools, and in a pool that does not admit the namespace": func(d *desk) {
			d.pools(pool("a", v4a, pinned(toNamespaces("team", "blue"))))
			d.reserve("out", keep("203.0.113.1"))
			d.stands("out", "OutsidePools", "203.0.113.1")
			d.reserve("web", keep("192.0.2.1"))
			d.stands("web", "NotAllowed", "pool a", "team=blue")
			d.claim("blue", inNamespace("team", "blue"))
			d.want("blue", "192.0.2.1 a Allocated")
			d.reserve("db", keep("192.0.2.2"), func(r *ipam.Reservation) { r.NamespaceLabels = labels.Set{"team": "blue"} })
			d.claim("green", inNamespace("team", "blue"))
			d.want("green", "192.0.2.3 a Allocated")
		},
		"pool edits": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("web", keep("192.0.2.2"))
			d.pools(pool("b", of("198.51.100.1", "198.51.100.1")))
			d.stands("web", "OutsidePools")
			d.pools(pool("c", of("192.0.2.2", "192.0.2.2")))
			d.stands("web", "Accepted held")
			d.claim("other")
			d.want("other", "PoolFull")
			d.pools(pool("c", broken))
			d.stands("web", "OutsidePools")
			d.pools(pool("c", of("192.0.2.2", "192.0.2.2")))
			d.want("other", "PoolFull")
			d.claim("web")
			d.want("web", "192.0.2.2 c Allocated")
		},
		"both families": func(d *desk) {
			d.pools(pool("a", v4a, v6a))
			d.reserve("web", keep("2001:db8:a::2", "192.0.2.2"))
			d.claim("one", requires)
			d.claim("two", requires)
			d.want("two", "192.0.2.3,2001:db8:a::3 a Allocated")
			d.claim("web", requires)
			d.want("web", "2001:db8:a::2,192.0.2.2 a Allocated")
			d.release("web")
			d.claim("web", v6Only)
			d.want("web", "2001:db8:a::2 a Allocated")
			d.claim("three", requires)
			d.want("three", "PoolFull")
		},
		"one family is kept, the other comes from its pool": func(d *desk) {
			d.pools(pool("a", v4a, v6a), pool("b", of("198.51.100.1", "198.51.100.3"), of("2001:db8:b::1", "2001:db8:b::3")))
			d.reserve("web", keep("2001:db8:b::2"))
			d.claim("web", prefers)
			d.want("web", "2001:db8:b::2,198.51.100.1 b Allocated")
			d.reserve("strict", keep("198.51.100.3"))
			d.claim("strict", requires)
			d.want("strict", "198.51.100.3,2001:db8:b::1 b Allocated")
		},
		"a pair from two pools, for those who opt in": func(d *desk) {
			d.pools(pool("a", v4a, v6a), pool("six", of("2001:db8:b::1", "2001:db8:b::3")))
			d.reserve("web", keep("192.0.2.2", "2001:db8:b::2"))
			d.claim("web", requires, anyPools)
			d.want("web", "192.0.2.2,2001:db8:b::2 a,six Allocated")
			d.claim("web", requires)
			d.release("web")
			d.claim("web", requires)
			d.want("web", "192.0.2.2,2001:db8:a::1 a Allocated")
		},
		"others may share it while its owner has it": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("web", keep("192.0.2.1"), keyed("k"))
			d.claim("early", shares("k", 81))
			d.want("early", "192.0.2.2 a Allocated")
			d.claim("web", shares("k", 80))
			d.want("web", "192.0.2.1 a Allocated")
			d.claim("guest", shares("k", 82), asks("192.0.2.1"))
			d.want("guest", "192.0.2.1 a Allocated")
			d.release("web")
			d.want("guest", "192.0.2.1 a Allocated")
			d.claim("rival", shares("k", 80), asks("192.0.2.1"))
			d.want("rival", "Reserved")
			d.claim("web", shares("k", 80))
			d.want("web", "192.0.2.1 a Allocated")
			d.want("rival", "SharingRefused")
			d.says("rival", "80", "shop/web")
		},
		"reservations of one key stand side by side": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("tcp", keep("192.0.2.1"), keyed("k"))
			d.reserve("tls", keep("192.0.2.1"), keyed("k"))
			d.reserve("no", keep("192.0.2.1"))
			d.stands("no", "Conflict", "shop/tcp")
			d.claim("tls", shares("k", 443))
			d.want("tls", "192.0.2.1 a Allocated")
			d.claim("guest", shares("k", 80), asks("192.0.2.1"))
			d.want("guest", "Reserved")
			d.says("guest", "shop/tcp")
			d.claim("tcp", shares("k", 80))
			d.want("tcp", "192.0.2.1 a Allocated")
			d.want("guest", "SharingRefused")
		},
		"who waits for what is kept is served when it is kept no more": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.1")))
			d.reserve("web", keep("192.0.2.1"))
			d.claim("first")
			d.claim("second", shares("k", 80))
			d.unreserve("web")
			d.want("first", "192.0.2.1 a Allocated")
			d.want("second", "PoolFull")
		},
		"the owner may wait for more than what is kept": func(d *desk) {
			d.pools(pool("m", v4a, of("2001:db8:a::1", "2001:db8:a::1"), manual), pool("a", of("198.51.100.1", "198.51.100.1")))
			d.claim("holder", v6Only, inPool("m"))
			d.claim("line", requires, inPool("m"))
			d.reserve("web", keep("192.0.2.2"))
			d.claim("web", requires)
			d.want("web", "FamilyMissing")
			d.release("line")
			d.release("holder")
			d.want("web", "192.0.2.2,2001:db8:a::1 m Allocated")
		},
		"the owner does not stand in line behind those who lack what is kept for it": func(d *desk) {
			d.pools(pool("a", of("192.0.2.1", "192.0.2.2"), of("2001:db8:a::1", "2001:db8:a::1")))
			d.reserve("web", keep("192.0.2.2"))
			d.claim("holder", requires)
			d.claim("older", requires)
			d.claim("web", requires)
			d.want("web", "PoolFull")
			d.claim("holder")
			d.want("holder", "192.0.2.1 a Allocated")
			d.want("older", "PoolFull")
			d.want("web", "192.0.2.2,2001:db8:a::1 a Allocated")
		},
		"takeover: who was found with it keeps it": func(d *desk) {
			d.pools(pool("a", v4a))
			d.reserve("web", keep("192.0.2.1"))
			if o := d.adopt("holder", found("a", "192.0.2.1")); o.Cause != "" {
				d.Errorf("an address was lost: %s", o.Cause)
			}
			d.claim("web")
			d.want("web", "192.0.2.2 a Allocated")
			d.claim("holder")
			d.want("holder", "192.0.2.1 a Allocated")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newDesk(t))
		})
	}
}

func TestReservedAddressesAreCounted(t *testing.T) {
	t.Parallel()
	d := newDesk(t, pool("a", of("192.0.2.1", "192.0.2.4"), of("2001:db8::1", "2001:db8::2")))
	want := func(u ipam.Usage) {
		t.Helper()
		u.Pool = "a"
		if got := d.a.Usages()[0]; got != u {
			t.Errorf("usage is %+v, want %+v", got, u)
		}
	}
	d.reserve("web", keep("192.0.2.2", "2001:db8::1"))
	d.reserve("db", keep("192.0.2.2"))
	want(ipam.Usage{AvailableIPv4: 3, AvailableIPv6: 1, ReservedIPv4: 1, ReservedIPv6: 1})
	d.claim("web")
	want(ipam.Usage{AvailableIPv4: 3, AvailableIPv6: 1, AssignedIPv4: 1, ReservedIPv6: 1})
	d.unreserve("web")
	want(ipam.Usage{AvailableIPv4: 3, AvailableIPv6: 2, AssignedIPv4: 1})
	d.release("web")
	want(ipam.Usage{AvailableIPv4: 3, AvailableIPv6: 2, ReservedIPv4: 1})
	d.unreserve("db")
	want(ipam.Usage{AvailableIPv4: 4, AvailableIPv6: 2})
}

// What is kept from everybody is so in pools that admit other namespaces, too.
func TestReservationOfAnyNamespace(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	both, ok := lb.MakeRange(addr, addr.Next())
	if !ok {
		t.Fatal("not a range")
	}
	for _, all := range []bool{false, true} {
		a := ipam.New()
		a.SetPools([]lb.Pool{{
			Name: "a", AutoAssign: true, Ranges: []lb.Range{both},
			Allocation: &lb.PoolAllocation{Namespaces: []string{"shop"}},
		}})
		nobody := lb.ServiceName{Namespace: "system", Name: "contested.192.0.2.1"}
		a.Reserve(nobody, []ipam.Reservation{{
			AnyNamespace: all,
			Reservation:  &lb.Reservation{Name: lb.ReservationName(nobody), Service: nobody, Addresses: []netip.Addr{addr}},
		}})
		out := a.Assign(ipam.Claim{Service: &lb.Service{
			Name: lb.ServiceName{Namespace: "shop", Name: "web"}, Families: []lb.Family{lb.IPv4},
		}})
		if given := out[0].Addresses[0] == addr; given == all {
			t.Errorf("any namespace: %v; 192.0.2.1 is given: %v", all, given)
		}
	}
}
