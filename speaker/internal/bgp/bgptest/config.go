// SPDX-License-Identifier: Apache-2.0

package bgptest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Router is a router under test, or the other way round.
type Router interface {
	// Route returns the best route to a prefix, and whether there is one.
	Route(prefix string) (Route, bool)
	// Count returns how many routes of both families the router has from its neighbors.
	Count() int
	// Start starts it again after Kill.
	Start(t testing.TB)
	// Kill ends it as a crash would.
	Kill()
}

// Config is that of a router, in no router's language.
type Config struct {
	ASN       uint32
	RouterID  string
	Neighbors []Neighbor
	// Networks are prefixes to originate, at most one per neighbor family is needed.
	Networks []string
}

// Neighbor is a speaker to expect. The router never dials.
type Neighbor struct {
	// Address is the neighbor's, or Interface is where it is, or Range is where it comes
	// from: then the router knows it while it is there.
	Address   netip.Addr
	Interface string
	Range     netip.Prefix
	// Local is the router's own address. BIRD wants it for a multihop session.
	Local    netip.Addr
	ASN      uint32
	Password string
	// Hops is how many there may be to the neighbor. Zero is one, a direct neighbor.
	Hops int
	// GTSM is RFC 5082.
	GTSM bool
	// NoIPv6 leaves out the family.
	NoIPv6 bool
	// HoldTime is in seconds, KeepaliveTime a third. Zero is the router's default.
	HoldTime int
}

func (n *Neighbor) name() string {
	switch {
	case n.Interface != "":
		return n.Interface
	case n.Range.IsValid():
		return "range"
	}
	return n.Address.String()
}

// frr is the configuration of bgpd.
func (c *Config) frr() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("router bgp %d", c.ASN)
	line(" bgp router-id %s", c.RouterID)
	line(" no bgp ebgp-requires-policy")
	line(" no bgp default ipv4-unicast")
	line(" no bgp network import-check")
	line(" bgp graceful-restart restart-time 30")
	line(" bgp graceful-restart preserve-fw-state")
	for _, n := range c.Neighbors {
		c.frrNeighbor(line, &n)
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		line(" address-family %s unicast", family)
		for _, p := range c.Networks {
			if strings.Contains(p, ":") == (family == "ipv6") {
				line("  network %s", p)
			}
		}
		for _, n := range c.Neighbors {
			if family == "ipv4" || !n.NoIPv6 {
				line("  neighbor %s activate", n.name())
			}
		}
		line(" exit-address-family")
	}
	return b.String()
}

func (c *Config) frrNeighbor(line func(string, ...any), n *Neighbor) {
	if n.Interface != "" {
		line(" neighbor %s interface remote-as %d", n.Interface, n.ASN)
		return
	}
	if n.Range.IsValid() {
		line(" neighbor %s peer-group", n.name())
		line(" neighbor %s remote-as %d", n.name(), n.ASN)
		line(" bgp listen range %s peer-group %s", n.Range, n.name())
		return
	}
	line(" neighbor %s remote-as %d", n.Address, n.ASN)
	line(" neighbor %s passive", n.Address)
	if n.Password != "" {
		line(" neighbor %s password %s", n.Address, n.Password)
	}
	switch {
	case n.GTSM:
		line(" neighbor %s ttl-security hops %d", n.Address, max(n.Hops, 1))
	case n.Hops > 1:
		line(" neighbor %s ebgp-multihop %d", n.Address, n.Hops)
	}
	if n.HoldTime != 0 {
		line(" neighbor %s timers %d %d", n.Address, n.HoldTime/3, n.HoldTime)
	}
}

// bird is the configuration of BIRD 2.
func (c *Config) bird() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("router id %s;", c.RouterID)
	line("protocol device { scan time 1; }")
	for _, n := range c.Neighbors {
		if n.Interface != "" {
			// The lifetime says that this is nobody's default router.
			line("protocol radv { interface %q { min ra interval 3; max ra interval 4; default lifetime 0; }; }", n.Interface)
		}
	}
	for k, family := range []string{"ipv4", "ipv6"} {
		line("protocol kernel { %s { export where source = RTS_BGP; }; }", family)
		line("protocol static own%d { %s;", k, family)
		for _, p := range c.Networks {
			if strings.Contains(p, ":") == (family == "ipv6") {
				line("  route %s blackhole;", p)
			}
		}
		line("}")
	}
	for k, n := range c.Neighbors {
		line("protocol bgp peer%d {", k)
		c.birdNeighbor(line, &n)
		line("}")
	}
	return b.String()
}

func (c *Config) birdNeighbor(line func(string, ...any), n *Neighbor) {
	local := fmt.Sprintf("as %d", c.ASN)
	if n.Local.IsValid() {
		local = fmt.Sprintf("%s as %d", n.Local, c.ASN)
	}
	line("  local %s;", local)
	switch {
	case n.Interface != "":
		line("  neighbor range fe80::/10 as %d; interface %q; dynamic name \"unnumbered\";", n.ASN, n.Interface)
	case n.Range.IsValid():
		line("  neighbor range %s as %d; dynamic name \"range\";", n.Range, n.ASN)
	default:
		line("  neighbor %s as %d; passive on;", n.Address, n.ASN)
	}
	if n.Password != "" {
		line("  password %q;", n.Password)
	}
	if n.Hops > 1 {
		line("  multihop %d;", n.Hops)
	} else {
		line("  direct;")
	}
	if n.GTSM {
		line("  ttl security on;")
	}
	if n.HoldTime != 0 {
		line("  hold time %d; keepalive time %d;", n.HoldTime, n.HoldTime/3)
	}
	line("  graceful restart on; error wait time 1, 1; error forget time 1; connect delay time 1;")
	line("  ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };")
	if !n.NoIPv6 {
		line("  ipv6 { import all; export where source = RTS_STATIC; };")
	}
}
