// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Community is a BGP community (RFC 1997) or a large community (RFC 8092). It is
// comparable; the zero value is the community 0:0.
type Community struct {
	large bool
	parts [3]uint32
}

// MakeCommunity returns the community admin:value of RFC 1997.
func MakeCommunity(admin, value uint16) Community {
	return Community{parts: [3]uint32{uint32(admin), uint32(value)}}
}

// MakeLargeCommunity returns the large community of RFC 8092.
func MakeLargeCommunity(admin, data1, data2 uint32) Community {
	return Community{large: true, parts: [3]uint32{admin, data1, data2}}
}

// ParseCommunity reads 64512:100 (two numbers of 16 bits) or large:64512:1:2 (three
// numbers of 32 bits).
func ParseCommunity(s string) (Community, error) {
	parts, bits, want := strings.Split(s, ":"), 16, 2
	c := Community{large: parts[0] == "large"}
	if c.large {
		parts, bits, want = parts[1:], 32, 3
	}
	valid := len(parts) == want
	for i := 0; valid && i < want; i++ {
		n, err := strconv.ParseUint(parts[i], 10, bits)
		c.parts[i], valid = uint32(n), err == nil
	}
	if !valid {
		return Community{}, fmt.Errorf("%q is not a community; write one such as 64512:100 or large:64512:1:2", s)
	}
	return c, nil
}

// Large returns the three numbers of a large community. It reports false for others.
func (c Community) Large() ([3]uint32, bool) { return c.parts, c.large }

// Standard returns the 32 bits of a community as they are on the wire (RFC 1997). It
// reports false for large ones.
func (c Community) Standard() (uint32, bool) { return c.parts[0]<<16 | c.parts[1], !c.large }

// Compare orders communities: standard ones first, then by their numbers.
func (c Community) Compare(o Community) int {
	if c.large != o.large {
		if o.large {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(c.parts[0], o.parts[0]), cmp.Compare(c.parts[1], o.parts[1]), cmp.Compare(c.parts[2], o.parts[2]))
}

// String returns the community as ParseCommunity takes it.
func (c Community) String() string {
	if c.large {
		return fmt.Sprintf("large:%d:%d:%d", c.parts[0], c.parts[1], c.parts[2])
	}
	return fmt.Sprintf("%d:%d", c.parts[0], c.parts[1])
}
