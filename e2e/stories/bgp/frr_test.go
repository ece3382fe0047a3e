// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/e2e/lab"
)

// frrRouter is asked by vtysh.
type frrRouter struct{ *lab.Host }

func (r frrRouter) name() string { return "frr" }
func (r frrRouter) asn() uint32  { return 64513 }
func (r frrRouter) cable() string {
	return "eth2"
}

func (r frrRouter) peer(v6 bool) string {
	if v6 {
		return "2001:db8:2::1"
	}
	return "192.0.2.1"
}

func (r frrRouter) show(ctx context.Context) string {
	var all strings.Builder
	for _, command := range []string{"show running-config", "show bgp summary", "show bgp ipv4 unicast", "show bgp ipv6 unicast", "show bfd peers"} {
		out, err := r.Exec(ctx, "vtysh", "-c", command)
		fmt.Fprintf(&all, "frr# %s (error %v)\n%s\n", command, err, out)
	}
	return all.String()
}

// ask returns the JSON that a show command has, in into. What is not JSON says that there
// is nothing.
func (r frrRouter) ask(ctx context.Context, command string, into any) error {
	out, err := r.Exec(ctx, "vtysh", "-c", command+" json")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if !strings.ContainsAny(out, "{[") {
		return nil
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("read %q: %w", out, err)
	}
	return nil
}

// frrPath is what vtysh has of a path.
type frrPath struct {
	Nexthops       []struct{ IP, Scope string }
	LocPrf         uint32
	Aspath         struct{ String string }
	Community      struct{ String string }
	LargeCommunity struct{ String string }
}

func (p *frrPath) path() path {
	found := path{localPref: p.LocPrf, asPath: p.Aspath.String, communities: strings.Fields(p.Community.String)}
	for _, hop := range p.Nexthops {
		if found.nextHop == "" || hop.Scope != "link-local" {
			found.nextHop = hop.IP
		}
	}
	for c := range strings.FieldsSeq(p.LargeCommunity.String) {
		found.communities = append(found.communities, "large:"+c)
	}
	slices.Sort(found.communities)
	return found
}

func (r frrRouter) paths(ctx context.Context, prefix netip.Prefix) ([]path, error) {
	family := "ipv4"
	if prefix.Addr().Is6() {
		family = "ipv6"
	}
	var table struct {
		Prefix string
		Paths  []frrPath
	}
	if err := r.ask(ctx, fmt.Sprintf("show bgp %s unicast %s", family, prefix), &table); err != nil {
		return nil, err
	}
	if table.Prefix != prefix.String() {
		return nil, nil // a shorter one that contains it
	}
	var paths []path
	for i := range table.Paths {
		paths = append(paths, table.Paths[i].path())
	}
	return paths, nil
}

func (r frrRouter) established(ctx context.Context) (int, error) {
	neighbors, err := r.neighbors(ctx)
	n := 0
	for _, neighbor := range neighbors {
		if neighbor.BgpState == "Established" {
			n++
		}
	}
	return n, err
}

// frrNeighbor is what vtysh has of a session.
type frrNeighbor struct {
	BgpState, RemoteRouterID string
	BgpTimerHoldTimeMsecs    int
	BgpTimerKeepAliveMsecs   int `json:"bgpTimerKeepAliveIntervalMsecs"`
	NeighborCapabilities     struct{ GracefulRestart string }
}

// neighbors returns the sessions that have been, by the neighbor's address or interface.
func (r frrRouter) neighbors(ctx context.Context) (map[string]frrNeighbor, error) {
	var raw map[string]json.RawMessage
	if err := r.ask(ctx, "show bgp neighbors", &raw); err != nil {
		return nil, err
	}
	all := make(map[string]frrNeighbor, len(raw))
	for name, message := range raw {
		var n frrNeighbor
		if json.Unmarshal(message, &n) == nil { // the rest is about the instance
			all[name] = n
		}
	}
	return all, nil
}

// frrBFD is what vtysh has of a BFD session.
type frrBFD struct {
	Peer, Interface, Status                           string
	Multihop                                          bool
	RemoteReceiveInterval, RemoteTransmitInterval     int
	RemoteEchoReceiveInterval, RemoteDetectMultiplier int
}

// UnmarshalJSON reads FRR's names, which have dashes.
func (b *frrBFD) UnmarshalJSON(raw []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	number := func(name string) int { f, _ := fields[name].(float64); return int(f) }
	b.Peer, _ = fields["peer"].(string)
	b.Interface, _ = fields["interface"].(string)
	b.Status, _ = fields["status"].(string)
	b.Multihop, _ = fields["multihop"].(bool)
	b.RemoteReceiveInterval, b.RemoteTransmitInterval = number("remote-receive-interval"), number("remote-transmit-interval")
	b.RemoteEchoReceiveInterval, b.RemoteDetectMultiplier = number("remote-echo-receive-interval"), number("remote-detect-multiplier")
	return nil
}

// bfd returns the BFD sessions that are up.
func (r frrRouter) bfd(ctx context.Context) ([]frrBFD, error) {
	var all []frrBFD
	err := r.ask(ctx, "show bfd peers", &all)
	return slices.DeleteFunc(all, func(b frrBFD) bool { return b.Status != "up" }), err
}

func (r frrRouter) bfdUp(ctx context.Context) (int, error) {
	up, err := r.bfd(ctx)
	return len(up), err
}

// configureFRR enters lines of configuration. What they leave is for resetFRR, or for other
// lines, to take away.
func (s *story) configureFRR(lines ...string) {
	s.Helper()
	args := []string{"-c", "configure terminal"}
	for _, l := range lines {
		args = append(args, "-c", l)
	}
	if out, err := s.frr().Exec(s.ctx, "vtysh", args...); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
}

// configureNodes enters lines about the neighbors that the nodes are.
func (s *story) configureNodes(lines ...string) {
	s.Helper()
	s.configureFRR(append([]string{"router bgp 64513"}, lines...)...)
}

// resetFRR has bgpd begin anew when the story ends: to take a password back is not
// enough, its listening socket keeps it.
func (s *story) resetFRR() { s.afterwards(s.restartFRR) }

// restartFRR kills bgpd, and waits until it is there again.
func (s *story) restartFRR() {
	s.Helper()
	before, err := s.lab.PID("frr/bgpd")
	if err = errors.Join(err, s.lab.Kill("frr/bgpd")); err != nil {
		s.Error(err)
		return
	}
	s.await(patience, "bgpd", func() error {
		after, err := s.lab.PID("frr/bgpd")
		if err == nil && (after == 0 || after == before) {
			err = fmt.Errorf("it is process %d, and was %d", after, before)
		}
		return err
	})
	s.await(patience, "bgpd with its configuration", func() error {
		out, err := s.frr().Exec(s.ctx, "vtysh", "-c", "show running-config bgpd")
		if err == nil && !strings.Contains(out, "neighbor nodes peer-group") {
			err = fmt.Errorf("it has %q", out)
		}
		return err
	})
}
