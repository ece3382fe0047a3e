// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// faults are all that is broken on purpose. nftables rules are always made from
// the whole of it: what is dropped depends on what is broken now, not on the
// order in which it broke.
type faults struct {
	partitions [][2][]string             // each: hosts on either side
	loss       map[clab.Endpoint]int     // percent, by the end that was named
	touched    map[*netns.Namespace]bool // namespaces that have rules of ours
}

// SetLink sets a link up or down. Down is an unplugged cable: the named end, and
// what it is connected to, lose their carrier.
func (f *Fabric) SetLink(endpoint string, up bool) error {
	_, far, err := f.find(endpoint)
	if err != nil {
		return err
	}
	// It is the far end that is set down, so that the near one sees what a host
	// sees when its cable is pulled: no carrier, on an interface that is still up.
	return f.hosts[far.Node].Netns.Enter(func() error {
		l, err := netlink.LinkByName(far.Interface)
		if err != nil {
			return fmt.Errorf("find link %s: %w", far, err)
		}
		if up {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

// Endpoints returns all ends of links at a host, eth0's included, as text.
func (f *Fabric) Endpoints(host string) []string {
	var list []string
	for _, l := range f.links {
		for _, e := range l.ends {
			if e.Node == host {
				list = append(list, e.String())
			}
		}
	}
	return list
}

// find returns the named end of a link and the opposite one.
func (f *Fabric) find(endpoint string) (near, far clab.Endpoint, err error) {
	for _, l := range f.links {
		for i, e := range l.ends {
			if e.String() == endpoint {
				return e, l.ends[1-i], nil
			}
		}
	}
	var all []string
	for _, l := range f.links {
		all = append(all, l.ends[0].String())
	}
	return near, far, fmt.Errorf("find link %q: no such end; there are %s", endpoint, strings.Join(all, ", "))
}

// Lose makes a link drop that many percent of its frames at random, in both
// directions. Zero makes it whole.
func (f *Fabric) Lose(ctx context.Context, endpoint string, percent int) error {
	near, _, err := f.find(endpoint)
	if err != nil {
		return err
	}
	if percent < 0 || percent > 100 {
		return fmt.Errorf("lose frames on %s: %d percent, want 0 to 100", endpoint, percent)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults.loss == nil {
		f.faults.loss = map[clab.Endpoint]int{}
	}
	if percent == 0 {
		delete(f.faults.loss, near)
	} else {
		f.faults.loss[near] = percent
	}
	return f.applyRules(ctx)
}

// Partition drops all frames between two sets of hosts, on every switch and on
// the management network. Nobody loses a carrier.
func (f *Fabric) Partition(ctx context.Context, a, b []string) error {
	for _, name := range slices.Concat(a, b) {
		if f.hosts[name] == nil {
			return fmt.Errorf("partition: no host %q", name)
		}
		if slices.Contains(a, name) && slices.Contains(b, name) {
			return fmt.Errorf("partition: %s is on both sides", name)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.partitions = append(f.faults.partitions, [2][]string{a, b})
	return f.applyRules(ctx)
}

// Heal ends all partitions. Lossy and cut links stay as they are.
func (f *Fabric) Heal(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.partitions = nil
	return f.applyRules(ctx)
}

// applyRules replaces our tables in every namespace that has or needs rules.
func (f *Fabric) applyRules(ctx context.Context) error {
	rules := f.rules()
	if f.faults.touched == nil {
		f.faults.touched = map[*netns.Namespace]bool{}
	}
	for ns := range rules {
		f.faults.touched[ns] = true
	}
	for ns := range f.faults.touched {
		script := "table bridge lab\ndelete table bridge lab\ntable netdev lab\ndelete table netdev lab\n" + rules[ns]
		cmd := ns.Command(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply faults in %s: %w: %s", ns.Name(), err, out)
		}
	}
	return nil
}

// rules returns the nftables script of each namespace.
func (f *Fabric) rules() map[*netns.Namespace]string {
	scripts := map[*netns.Namespace]string{}
	for _, sw := range f.Hosts() {
		if sw.Kind != clab.Switch && sw.Name != ControlPlane {
			continue
		}
		if s := f.partitionRules(sw); s != "" {
			scripts[sw.Netns] = s
		}
	}
	for _, near := range slices.SortedFunc(maps.Keys(f.faults.loss), func(a, b clab.Endpoint) int {
		return strings.Compare(a.String(), b.String())
	}) {
		_, far, _ := f.find(near.String())
		for _, e := range []clab.Endpoint{near, far} {
			scripts[f.hosts[e.Node].Netns] += lossRule(e.Interface, f.faults.loss[near])
		}
	}
	return scripts
}

// lossRule drops on the way out of an interface. On the way in would be too
// late: packet sockets see a frame before nftables does.
func lossRule(name string, percent int) string {
	verdict := "drop"
	if percent < 100 {
		verdict = fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	}
	return fmt.Sprintf(`table netdev lab {
	chain loss-%[1]s {
		type filter hook egress device "%[1]s" priority 0
		%[2]s
	}
}
`, name, verdict)
}

// partitionRules returns the rules for the bridge of a switch. The control
// plane's bridge has an end host behind it, the control plane itself: frames to
// and from it pass input and output instead of forward.
func (f *Fabric) partitionRules(sw *Host) string {
	var forward, input, output strings.Builder
	drop := func(chain *strings.Builder, format string, args ...any) {
		fmt.Fprintf(chain, "\t\t"+format+" drop\n", args...)
	}
	for _, p := range f.faults.partitions {
		a, b := f.ports(sw, p[0]), f.ports(sw, p[1])
		if a != "" && b != "" {
			drop(&forward, "iifname { %s } oifname { %s }", a, b)
			drop(&forward, "iifname { %s } oifname { %s }", b, a)
		}
		for i, ports := range []string{b, a} {
			if sw.Name == ControlPlane && ports != "" && slices.Contains(p[i], ControlPlane) {
				drop(&input, "iifname { %s }", ports)
				drop(&output, "oifname { %s }", ports)
			}
		}
	}
	if forward.Len()+input.Len() == 0 {
		return ""
	}
	return fmt.Sprintf(`table bridge lab {
	chain forward {
		type filter hook forward priority 0
%s	}
	chain input {
		type filter hook input priority 0
%s	}
	chain output {
		type filter hook output priority 0
%s	}
}
`, &forward, &input, &output)
}

// ports returns the ports of a switch that lead to the hosts, quoted for nft.
func (f *Fabric) ports(sw *Host, hosts []string) string {
	var ports []string
	for _, l := range f.links {
		for i, e := range l.ends {
			if e.Node == sw.Name && slices.Contains(hosts, l.ends[1-i].Node) {
				ports = append(ports, fmt.Sprintf("%q", e.Interface))
			}
		}
	}
	return strings.Join(ports, ", ")
}
