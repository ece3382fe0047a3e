// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, address, former string
		want                  string // of the address; empty: an error
		err                   string
	}{
		{"IPv4", "192.0.2.100", "192.0.2.11", "192.0.2.100", ""},
		{"IPv6", "2001:db8::100", "2001:db8::11", "2001:db8::100", ""},
		{"IPv4 in the form of IPv6", "::ffff:192.0.2.100", "192.0.2.11", "192.0.2.100", ""},
		{"zone", "2001:db8::100%eth0", "2001:db8::11", "2001:db8::100", ""},
		{
			"families differ", "192.0.2.100", "2001:db8::11", "",
			"keep connections to 192.0.2.100: 2001:db8::11 is of the other family",
		},
		{
			"to itself", "192.0.2.100", "::ffff:192.0.2.100", "",
			"keep connections to 192.0.2.100: it would lead to itself",
		},
		{
			"link-local next hop", "2001:db8::100", "fe80::11%eth0", "",
			"keep connections to 2001:db8::100: fe80::11 is link-local, and the kernel's table names no link",
		},
		{
			"unspecified next hop", "192.0.2.100", "0.0.0.0", "",
			"keep connections to 192.0.2.100: 0.0.0.0 is not the address of a node",
		},
		{
			"multicast", "224.0.0.5", "192.0.2.11", "",
			"keep connections to 224.0.0.5: not the address of a Service",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			pairs, errs := check(map[netip.Addr]netip.Addr{
				netip.MustParseAddr(test.address): netip.MustParseAddr(test.former),
			})
			var got, err string
			if len(pairs) == 1 {
				got = pairs[0].address.String()
			}
			if len(errs) == 1 {
				err = errs[0].Error()
			}
			if got != test.want || err != test.err {
				t.Errorf("got %q and error %q, want %q and %q", got, err, test.want, test.err)
			}
		})
	}
}

// What is invalid does not keep others from being done, whatever the order.
func TestCheckSortsPairsAndErrors(t *testing.T) {
	a := netip.MustParseAddr
	pairs, errs := check(map[netip.Addr]netip.Addr{
		a("192.0.2.3"): a("192.0.2.11"), a("192.0.2.1"): a("192.0.2.11"), {}: a("192.0.2.11"),
		a("192.0.2.4"): {}, a("192.0.2.2"): a("::1"), a("::ffff:192.0.2.1"): a("192.0.2.11"),
	})
	var got []string
	for _, p := range pairs {
		got = append(got, p.address.String()+" "+p.former.String())
	}
	for _, err := range errs {
		got = append(got, err.Error())
	}
	want := []string{
		"192.0.2.1 192.0.2.11",
		"192.0.2.3 192.0.2.11",
		"keep connections to 192.0.2.2: ::1 is not the address of a node",
		"keep connections to 192.0.2.4: invalid IP is not the address of a node",
		"keep connections to invalid IP: not the address of a Service",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
