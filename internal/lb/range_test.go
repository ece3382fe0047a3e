// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"192.0.2.0/24", "192.0.2.0-192.0.2.255"},
		{"192.0.2.77/24", "192.0.2.0-192.0.2.255"},
		{"192.0.2.7/32", "192.0.2.7-192.0.2.7"},
		{"10.0.0.0/8", "10.0.0.0-10.255.255.255"},
		{"192.0.2.130/25", "192.0.2.128-192.0.2.255"},
		{"192.0.2.10-192.0.2.20", "192.0.2.10-192.0.2.20"},
		{" 192.0.2.10  -\t192.0.2.20 ", "192.0.2.10-192.0.2.20"},
		{"192.0.2.7-192.0.2.7", "192.0.2.7-192.0.2.7"},
		{" 192.0.2.0/24 ", "192.0.2.0-192.0.2.255"},
		{"192.0.2.250-192.0.3.5", "192.0.2.250-192.0.3.5"},
		{"2001:db8::/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"},
		{"2001:db8::1:2:3:4/112", "2001:db8::1:2:3:0-2001:db8::1:2:3:ffff"},
		{"2001:db8::7/128", "2001:db8::7-2001:db8::7"},
		{"2001:DB8::a-2001:db8::F", "2001:db8::a-2001:db8::f"},
		{"fc00::/7", "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"255.255.255.254/32", "255.255.255.254-255.255.255.254"}, // Unusual; but only the very last is for broadcasts.
	} {
		got, err := lb.ParseRange(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseRange(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRangeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, message string }{
		{"", "is empty"},
		{"   ", "is empty"},
		{"192.0.2.7", "write 192.0.2.7/32"},
		{"2001:db8::7", "write 2001:db8::7/128"},
		{"::ffff:192.0.2.7", "write 192.0.2.7/32"},
		{"192.0.2.0/33", "is not a prefix"},
		{"192.0.2.0/", "is not a prefix"},
		{"192.0.2.0/-1", "is not a prefix"},
		{"192.0.2.0 /24", "is not a prefix"},
		{"192.0.2/24", "is not a prefix"},
		{"192.0.02.0/24", "is not a prefix"},
		{"2001:db8::/129", "is not a prefix"},
		{"192.0.2.0/24-192.0.2.9", "is not a prefix"},
		{"192.0.2.20-192.0.2.10", "starts after its end; write 192.0.2.10-192.0.2.20"},
		{"2001:db8::2-2001:db8::1", "starts after its end"},
		{"192.0.2.1-2001:db8::1", "mixes IPv4 and IPv6"},
		{"2001:db8::1-192.0.2.1", "mixes IPv6 and IPv4"},
		{"192.0.2.1-", `"" is not an IP address`},
		{"-192.0.2.1", `"" is not an IP address`},
		{"-", `"" is not an IP address`},
		{"192.0.2.1-20", `"20" is not an IP address`},
		{"192.0.2.1-192.0.2.2-192.0.2.3", "is not an IP address"},
		{"192.0.2.1–192.0.2.9", "is neither a prefix nor a range"}, // An en dash.
		{"the default pool", "is neither a prefix nor a range"},
		{"fe80::1%eth0/64", "has a zone"},
		{"fe80::1%eth0-fe80::2%eth0", "has a zone"},
		{"::ffff:192.0.2.0/120", "write it as IPv4, 192.0.2.0"},
		{"::ffff:192.0.2.1-::ffff:192.0.2.9", "write it as IPv4, 192.0.2.1"},
		{"0.0.0.0/0", "contains the unspecified address"},
		{"0.0.0.0-9.255.255.255", "contains the unspecified address"},
		{"127.0.0.1/32", "contains loopback addresses"},
		{"223.0.0.0-224.0.0.1", "contains multicast addresses"},
		{"255.255.255.255/32", "contains the broadcast address"},
		{"::/0", "contains the unspecified address"},
		{"::1/128", "contains the loopback address"},
		{"ff02::/16", "contains multicast addresses"},
		{"::fffe:0:0-::1:0:0:0", "contains IPv4-mapped addresses"},
	} {
		_, err := lb.ParseRange(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("ParseRange(%q) = %v; want an error with %q", tt.in, err, tt.message)
		}
	}
}

func TestRangeOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ prefix, want string }{
		{"0.0.0.0/0", "0.0.0.0-255.255.255.255"},
		{"192.0.2.3/31", "192.0.2.2-192.0.2.3"},
		{"::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db8::ff/127", "2001:db8::fe-2001:db8::ff"},
	} {
		if got := lb.RangeOf(netip.MustParsePrefix(tt.prefix)).String(); got != tt.want {
			t.Errorf("RangeOf(%s) = %s; want %s", tt.prefix, got, tt.want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want int64
	}{
		{"192.0.2.7/32", 1},
		{"10.0.0.0/8", 1 << 24},
		{"192.0.2.255-192.0.3.0", 2},
		{"2001:db8::/96", 1 << 32},
		{"2001:db8::/66", 1 << 62},
		{"2001:db8::1-2001:db8::7fff:ffff:ffff:ffff", math.MaxInt64},
		{"2001:db8::/65", math.MaxInt64},
		{"2001:db8::/64", math.MaxInt64},
		{"2001:db8::/32", math.MaxInt64},
		{"2001:db8:0:0:ffff:ffff:ffff:ffff-2001:db8:0:1::", 2},
	} {
		r, err := lb.ParseRange(tt.in)
		if err != nil || r.Size() != tt.want {
			t.Errorf("size of %s = %d, %v; want %d", tt.in, r.Size(), err, tt.want)
		}
	}
}

// small returns every range within a few addresses around a place where carrying over
// between bytes, or the end of a family, might go wrong.
func small(t *testing.T) []lb.Range {
	t.Helper()
	var ranges []lb.Range
	for _, start := range []string{"192.0.2.253", "255.255.255.250", "2001:db8::fffd", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffa", "::"} {
		var addrs []netip.Addr
		for a := addr(start); len(addrs) < 6; a = a.Next() {
			addrs = append(addrs, a)
		}
		for i := range addrs {
			for j := i; j < len(addrs); j++ {
				r, ok := lb.MakeRange(addrs[i], addrs[j])
				if !ok {
					t.Fatalf("MakeRange(%s, %s) is not ok", addrs[i], addrs[j])
				}
				ranges = append(ranges, r)
			}
		}
	}
	return ranges
}

// members lists the addresses of r, which must be few.
func members(r lb.Range) []netip.Addr {
	var all []netip.Addr
	for a := r.First(); a.IsValid() && a.Compare(r.Last()) <= 0; a = a.Next() {
		all = append(all, a)
	}
	return all
}

// The operations on ranges mean what the same operations on sets of addresses do.
func TestRangeLaws(t *testing.T) {
	t.Parallel()
	ranges := small(t)
	for _, a := range ranges {
		if got := a.Size(); got != int64(len(members(a))) {
			t.Fatalf("%s has size %d; it has %d members", a, got, len(members(a)))
		}
		for _, b := range ranges {
			var common []netip.Addr
			for _, m := range members(a) {
				if b.Contains(m) != slices.Contains(members(b), m) {
					t.Fatalf("%s.Contains(%s) = %v", b, m, b.Contains(m))
				}
				if b.Contains(m) {
					common = append(common, m)
				}
			}
			if a.Overlaps(b) != (len(common) > 0) || a.Overlaps(b) != b.Overlaps(a) {
				t.Fatalf("%s overlaps %s: %v; they have %v in common", a, b, a.Overlaps(b), common)
			}
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{
		"192.0.2.0/24", "192.0.2.10-192.0.2.20", " 2001:db8::1 - 2001:db8::9 ", "192.0.2.7", "::/0", "::ffff:1.2.3.4/100",
		"fe80::1%eth0/64", "1.2.3.4-::1", "255.255.255.255-255.255.255.255", "-", "/", "", "0.0.0.0/0", "1.2.3.4/032", "ff00::/8",
		"::ffff:0:0-::ffff:0:0", "1.2.3.4-1.2.3.4/24",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := lb.ParseRange(s)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Errorf("ParseRange(%q) refuses without a word", s)
			}
			return
		}
		first, last := r.First(), r.Last()
		if !first.IsValid() || first.Is4() != last.Is4() || last.Less(first) || first.Is4In6() || last.Is4In6() || first.Zone() != "" {
			t.Errorf("ParseRange(%q) = %s, which is no range", s, r)
		}
		for _, a := range []netip.Addr{first, last} {
			if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
				t.Errorf("ParseRange(%q) = %s, which no Service can use", s, r)
			}
		}
		again, err := lb.ParseRange(r.String())
		if err != nil || again != r {
			t.Errorf("ParseRange(%q) = %s, but read again it is %s, %v", s, r, again, err)
		}
	})
}
