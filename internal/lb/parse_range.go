// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ParseRange reads one entry of IPAddressPool.spec.addresses: a prefix in CIDR
// notation, of which host bits are ignored, or "first-last", both included. Spaces
// around an address are ignored. The error says what is wrong and what to write.
func ParseRange(s string) (Range, error) {
	s = strings.TrimSpace(s)
	var r Range
	var err error
	switch {
	case s == "":
		return Range{}, errors.New("is empty; write a prefix such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20")
	case strings.Contains(s, "%"):
		return Range{}, fmt.Errorf("%q has a zone (%%); pools hold addresses without one", s)
	case strings.Contains(s, "/"):
		r, err = parsePrefix(s)
	case strings.Contains(s, "-"):
		r, err = parseFirstLast(s)
	default:
		return Range{}, explainSingle(s)
	}
	if err != nil {
		return Range{}, err
	}
	return r, checkAssignable(s, r)
}

func parsePrefix(s string) (Range, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Range{}, fmt.Errorf("%q is not a prefix in CIDR notation; write one such as 192.0.2.0/24 or 2001:db8::/64", s)
	}
	if p.Addr().Is4In6() {
		return Range{}, explainMapped(s, p.Addr())
	}
	return RangeOf(p), nil
}

func parseFirstLast(s string) (Range, error) {
	left, right, _ := strings.Cut(s, "-")
	first, err := parseBound(s, left)
	if err != nil {
		return Range{}, err
	}
	last, err := parseBound(s, right)
	if err != nil {
		return Range{}, err
	}
	if first.Is4() != last.Is4() {
		return Range{}, fmt.Errorf("%q mixes %s and %s; write one entry for each family", s, FamilyOf(first), FamilyOf(last))
	}
	r, ok := MakeRange(first, last)
	if !ok {
		return Range{}, fmt.Errorf("%q starts after its end; write %s-%s", s, last, first)
	}
	return r, nil
}

// parseBound reads one of the two addresses of the range s.
func parseBound(s, bound string) (netip.Addr, error) {
	bound = strings.TrimSpace(bound)
	a, err := netip.ParseAddr(bound)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not a range: %q is not an IP address; write first-last, such as 192.0.2.10-192.0.2.20", s, bound)
	}
	if a.Is4In6() {
		return netip.Addr{}, explainMapped(s, a)
	}
	return a, nil
}

// explainSingle says what is wrong with an entry that is neither a prefix nor a range.
func explainSingle(s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("%q is neither a prefix nor a range of addresses; write one such as 192.0.2.0/24 or 192.0.2.10-192.0.2.20", s)
	}
	a = a.Unmap()
	return fmt.Errorf("%q is a single address; write %s/%d", s, a, a.BitLen())
}

func explainMapped(s string, a netip.Addr) error {
	return fmt.Errorf("%q holds the IPv4-mapped IPv6 address %s; write it as IPv4, %s", s, a, a.Unmap())
}

// checkAssignable refuses ranges with addresses that can never be a host's address on
// a network, so that a slip such as a prefix length of 0 is not half in use for years.
func checkAssignable(s string, r Range) error {
	for _, never := range []struct{ prefix, kind string }{
		{"0.0.0.0/32", "the unspecified address"},
		{"127.0.0.0/8", "loopback addresses"},
		{"224.0.0.0/4", "multicast addresses"},
		{"255.255.255.255/32", "the broadcast address"},
		{"::/128", "the unspecified address"},
		{"::1/128", "the loopback address"},
		{"::ffff:0:0/96", "IPv4-mapped addresses"},
		{"ff00::/8", "multicast addresses"},
	} {
		if p := netip.MustParsePrefix(never.prefix); r.Overlaps(RangeOf(p)) {
			return fmt.Errorf("%q contains %s (%s), which no Service can have; leave them out", s, never.kind, p)
		}
	}
	return nil
}
