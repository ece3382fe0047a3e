// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// pair is an address and the node to which it leads, both plain and of one family.
type pair struct {
	address, former netip.Addr
}

// plain is an address as the kernel's table has it: an IPv4 address is one, also
// when it came in the form of an IPv6 address, and there are no zones.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// check returns the valid pairs, sorted by address, and why others are not.
func check(former map[netip.Addr]netip.Addr) ([]pair, []error) {
	pairs := make([]pair, 0, len(former))
	var errs []error
	for address, node := range former {
		p := pair{plain(address), plain(node)}
		if err := p.validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int { return a.address.Compare(b.address) })
	// The same address twice, in two forms: the kernel takes it once.
	pairs = slices.CompactFunc(pairs, func(a, b pair) bool { return a.address == b.address })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return pairs, errs
}

func (p pair) validate() error {
	switch {
	case !isHost(p.address):
		return fmt.Errorf("keep connections to %s: not the address of a Service", p.address)
	case !isHost(p.former):
		return fmt.Errorf("keep connections to %s: %s is not the address of a node", p.address, p.former)
	case p.address.Is4() != p.former.Is4():
		return fmt.Errorf("keep connections to %s: %s is of the other family", p.address, p.former)
	case p.address == p.former:
		return fmt.Errorf("keep connections to %s: it would lead to itself", p.address)
	case p.former.IsLinkLocalUnicast() && p.former.Is6():
		return fmt.Errorf("keep connections to %s: %s is link-local, and the kernel's table names no link", p.address, p.former)
	}
	return nil
}

// isHost says whether a single host on some link can have the address.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// name says which addresses are meant, for an error.
func name(pairs []pair) string {
	if len(pairs) == 1 {
		return pairs[0].address.String()
	}
	return fmt.Sprintf("%s and %d more", pairs[0].address, len(pairs)-1)
}
