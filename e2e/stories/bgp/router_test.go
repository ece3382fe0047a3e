// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/herald-lb/herald/e2e/lab"
)

// router is a router as a network engineer asks it.
type router interface {
	name() string
	// peer is the address at which it expects sessions of a family.
	peer(v6 bool) string
	asn() uint32
	// paths returns what the router's own BGP table has for a prefix.
	paths(ctx context.Context, prefix netip.Prefix) ([]path, error)
	// show returns what somebody would look at first.
	show(ctx context.Context) string
}

// path is one way to a prefix.
type path struct {
	nextHop string
	// communities are as kubectl users write them, sorted.
	communities []string
	// localPref is what FRR says; nobody asks BIRD.
	localPref uint32
}

// frrRouter is asked by vtysh.
type frrRouter struct{ *lab.Host }

func (r frrRouter) name() string { return "frr" }
func (r frrRouter) asn() uint32  { return 64513 }
func (r frrRouter) peer(v6 bool) string {
	if v6 {
		return "2001:db8:2::1"
	}
	return "192.0.2.1"
}

func (r frrRouter) show(ctx context.Context) string {
	var all strings.Builder
	for _, command := range []string{"show running-config", "show bgp summary", "show bgp ipv4 unicast", "show bgp ipv6 unicast", "show bfd peers brief"} {
		out, err := r.Exec(ctx, "vtysh", "-c", command)
		fmt.Fprintf(&all, "frr# %s (error %v)\n%s\n", command, err, out)
	}
	return all.String()
}

// bfdUp returns how many BFD sessions are up.
func (r frrRouter) bfdUp(ctx context.Context) (int, error) {
	out, err := r.Exec(ctx, "vtysh", "-c", "show bfd peers json")
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	var peers []struct{ Status string }
	if err := json.Unmarshal([]byte(out), &peers); err != nil {
		return 0, fmt.Errorf("read %q: %w", out, err)
	}
	up := 0
	for _, p := range peers {
		if p.Status == "up" {
			up++
		}
	}
	return up, nil
}

func (r frrRouter) paths(ctx context.Context, prefix netip.Prefix) ([]path, error) {
	family := "ipv4"
	if prefix.Addr().Is6() {
		family = "ipv6"
	}
	out, err := r.Exec(ctx, "vtysh", "-c", fmt.Sprintf("show bgp %s unicast %s json", family, prefix))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	if !strings.Contains(out, "{") {
		return nil, nil // Network not in table
	}
	var table struct {
		Prefix string
		Paths  []struct {
			Nexthops  []struct{ IP, Scope string }
			LocPrf    uint32
			Community struct {
				String string
			}
			LargeCommunity struct {
				String string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("read %q: %w", out, err)
	}
	if table.Prefix != prefix.String() {
		return nil, nil // a shorter one that contains it
	}
	var paths []path
	for _, p := range table.Paths {
		found := path{localPref: p.LocPrf}
		for _, hop := range p.Nexthops {
			if hop.Scope != "link-local" {
				found.nextHop = hop.IP
			}
		}
		found.communities = strings.Fields(p.Community.String)
		for c := range strings.FieldsSeq(p.LargeCommunity.String) {
			found.communities = append(found.communities, "large:"+c)
		}
		slices.Sort(found.communities)
		paths = append(paths, found)
	}
	return paths, nil
}

// birdRouter is asked by birdc.
type birdRouter struct {
	*lab.Host
	socket string
}

func (r birdRouter) name() string { return "bird" }
func (r birdRouter) asn() uint32  { return 64514 }
func (r birdRouter) peer(v6 bool) string {
	if v6 {
		return "2001:db8:2::2"
	}
	return "192.0.2.2"
}

func (r birdRouter) ask(ctx context.Context, words ...string) (string, error) {
	return r.Exec(ctx, "birdc", append([]string{"-r", "-s", r.socket}, words...)...)
}

func (r birdRouter) show(ctx context.Context) string {
	protocols, err := r.ask(ctx, "show", "protocols")
	routes, err2 := r.ask(ctx, "show", "route")
	return fmt.Sprintf("bird> show protocols (error %v)\n%s\nbird> show route (error %v)\n%s\n", err, protocols, err2, routes)
}

var (
	birdHop   = regexp.MustCompile(`(?m)^\s+via (\S+) on`)
	birdWords = regexp.MustCompile(`\((\d+), ?(\d+)(?:, ?(\d+))?\)`)
)

func (r birdRouter) paths(ctx context.Context, prefix netip.Prefix) ([]path, error) {
	out, err := r.ask(ctx, "show", "route", prefix.String(), "all")
	if err != nil && !strings.Contains(out, "not found") {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var paths []path
	// Each path begins with its next hop.
	starts := birdHop.FindAllStringSubmatchIndex(out, -1)
	for i, at := range starts {
		end := len(out)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		found := path{nextHop: out[at[2]:at[3]]}
		for line := range strings.Lines(out[at[1]:end]) {
			if strings.Contains(line, "community:") {
				found.communities = append(found.communities, birdCommunities(line)...)
			}
		}
		slices.Sort(found.communities)
		paths = append(paths, found)
	}
	return paths, nil
}

func birdCommunities(line string) []string {
	var all []string
	for _, m := range birdWords.FindAllStringSubmatch(line, -1) {
		if m[3] == "" {
			all = append(all, m[1]+":"+m[2])
		} else {
			all = append(all, "large:"+m[1]+":"+m[2]+":"+m[3])
		}
	}
	return all
}
