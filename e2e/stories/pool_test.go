// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// pool is an IPAddressPool with its L2Advertisement, and the addresses that its story
// may use: blockSize consecutive ones of each family.
type pool struct {
	name   string
	family family
	v4, v6 netip.Addr // the first ones
	size   int

	addresses  []string // spec.addresses
	allocation string   // spec.serviceAllocation, in YAML's flow style; empty: none
	noAuto     bool
	advertised bool
}

const blockSize = 8

var pools atomic.Uint32

// newPool returns a pool with a block of addresses that no story used for a while: 17
// blocks of 192.0.2.112-247, beside as many of IPv6. It is not in the cluster yet.
func newPool(f family) *pool {
	n := pools.Add(1)
	v4 := netip.MustParseAddr("192.0.2.112").As4()
	v4[3] += byte(n%17) * blockSize
	v6 := netip.MustParseAddr("2001:db8:2::").As16()
	binary.BigEndian.PutUint32(v6[12:], 0x10000+n*blockSize)
	return &pool{
		name: fmt.Sprintf("pool-%d", n), family: f,
		v4: netip.AddrFrom4(v4), v6: netip.AddrFrom16(v6), size: blockSize,
		advertised: true,
	}
}

// addrs returns the i-th address of each family the pool has.
func (p *pool) addrs(i int) []netip.Addr {
	return p.family.of(add(p.v4, i), add(p.v6, i))
}

// ranges returns the first n addresses of each family in the form "first-last".
func (p *pool) ranges(n int) []string {
	var ranges []string
	for _, first := range p.addrs(0) {
		ranges = append(ranges, fmt.Sprintf("%s-%s", first, add(first, n-1)))
	}
	return ranges
}

// prefixes returns all addresses of each family in the form "prefix/length".
func (p *pool) prefixes() []string {
	var prefixes []string
	for _, first := range p.addrs(0) {
		prefixes = append(prefixes, netip.PrefixFrom(first, first.BitLen()-3).String()) // 2^3 = blockSize
	}
	return prefixes
}

// contains reports whether addr is one of the pool's.
func (p *pool) contains(addr netip.Addr) bool {
	for i := range p.size {
		if slices.Contains(p.addrs(i), addr) {
			return true
		}
	}
	return false
}

// add returns the i-th address after a. It does not carry: blocks are aligned.
func add(a netip.Addr, i int) netip.Addr {
	raw := a.AsSlice()
	raw[len(raw)-1] += byte(i)
	sum, _ := netip.AddrFromSlice(raw)
	return sum
}

type poolOption func(*pool)

// of makes the pool hold just n addresses of each family.
func of(n int) poolOption {
	return func(p *pool) { p.size, p.addresses = n, p.ranges(n) }
}

// asPrefixes writes the pool's addresses as CIDR prefixes.
func asPrefixes(p *pool) { p.addresses = p.prefixes() }

// notAutomatic keeps the pool for those who ask for it by name.
func notAutomatic(p *pool) { p.noAuto = true }

// pinned restricts the pool to Services that a serviceAllocation selects.
func pinned(allocation string) poolOption { return func(p *pool) { p.allocation = allocation } }

// unadvertised leaves the L2Advertisement to the story.
func unadvertised(p *pool) { p.advertised = false }

// givenPool creates a pool and advertises it.
func (s *story) givenPool(f family, options ...poolOption) *pool {
	s.Helper()
	p := newPool(f)
	p.addresses = p.ranges(p.size)
	for _, option := range options {
		option(p)
	}
	s.pools = append(s.pools, p)
	s.applyPool(p)
	if p.advertised {
		s.advertise(p, "")
	}
	return p
}

func (s *story) applyPool(p *pool) {
	s.Helper()
	var allocation string
	if p.allocation != "" {
		allocation = "serviceAllocation: " + p.allocation
	}
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: %s
  namespace: %s
spec:
  autoAssign: %t
  addresses: ["%s"]
  %s
`, p.name, heraldNS, !p.noAuto, strings.Join(p.addresses, `", "`), allocation))
}

// advertise applies the pool's L2Advertisement; selection is more of its spec.
func (s *story) advertise(p *pool, selection string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: %s
  namespace: %s
spec:
  ipAddressPools: [%s]
  %s
`, p.name, heraldNS, p.name, selection))
}

// deletePool takes away the pool and its advertisement.
func (s *story) deletePool(p *pool) {
	for _, resource := range []string{"l2advertisements", "ipaddresspools"} {
		path := "/apis/metallb.io/v1beta1/namespaces/" + heraldNS + "/" + resource + "/" + p.name
		s.check(s.api().CoreV1().RESTClient().Delete().AbsPath(path).Do(s.ctx).Error())
	}
}
