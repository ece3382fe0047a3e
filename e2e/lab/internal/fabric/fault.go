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
	silences [][2][]string             // each: no frame passes from these hosts to those
	loss     map[clab.Endpoint]int     // percent, by the end that was named
	touched  map[*netns.Namespace]bool // namespaces that have rules of ours
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
	if err := f.checkSides(a, b); err != nil {
		return fmt.Errorf("partition: %w", err)
	}
	return f.addSilences(ctx, [2][]string{a, b}, [2][]string{b, a})
}

// Silence drops all frames from one set of hosts to another, and lets those pass
// that go the other way.
func (f *Fabric) Silence(ctx context.Context, from, to []string) error {
	if err := f.checkSides(from, to); err != nil {
		return fmt.Errorf("silence: %w", err)
	}
	return f.addSilences(ctx, [2][]string{from, to})
}

func (f *Fabric) checkSides(a, b []string) error {
	for _, name := range slices.Concat(a, b) {
		if f.hosts[name] == nil {
			return fmt.Errorf("no host %q", name)
		}
		if slices.Contains(a, name) && slices.Contains(b, name) {
			return fmt.Errorf("%s is on both sides", name)
		}
	}
	return nil
}

func (f *Fabric) addSilences(ctx context.Context, s ...[2][]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.silences = append(f.faults.silences, s...)
	return f.applyRules(ctx)
}

// Heal ends all partitions and silences. Lossy and cut links stay as they are.
func (f *Fabric) Heal(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.silences = nil
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
	for _, s := range f.faults.silences {
		from, to := f.ports(sw, s[0]), f.ports(sw, s[1])
		if from != "" && to != "" {
			drop(&forward, "iifname { %s } oifname { %s }", from, to)
		}
		if sw.Name != ControlPlane {
			continue
		}
		if from != "" && slices.Contains(s[1], ControlPlane) {
			drop(&input, "iifname { %s }", from)
		}
		if to != "" && slices.Contains(s[0], ControlPlane) {
			drop(&output, "oifname { %s }", to)
		}
	}
	if forward.Len()+input.Len()+output.Len() == 0 {
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
