// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// ControlPlane is the name of the host that runs the control plane and carries
// the management bridge. No node of a topology can have it: it is k8s-kind's.
const ControlPlane = "control-plane"

const (
	switchBridge = "br0"
	mgmtBridge   = "mgmt"
	// MgmtInterface is the management interface of every host, as in containerlab.
	MgmtInterface = "eth0"
)

// Fabric is the network of a lab. Its methods may be called by several
// goroutines at once, except Build and Remove.
type Fabric struct {
	topology *clab.Topology
	prefix   string
	hosts    map[string]*Host
	links    []link

	mu     sync.Mutex // guards faults and the rules made from them
	faults faults
}

// Host is one namespace of the fabric.
type Host struct {
	Name  string
	Kind  clab.Kind // zero for the control plane
	Netns *netns.Namespace
	// Mgmt holds the addresses of eth0, the control plane's of its bridge.
	Mgmt       []netip.Addr
	interfaces []string
}

// link is a built cable.
type link struct {
	ends [2]clab.Endpoint
}

// New returns a fabric that is not built. Namespace names are prefix and the
// host's name.
func New(t *clab.Topology, prefix string) *Fabric {
	return &Fabric{topology: t, prefix: prefix, hosts: map[string]*Host{}}
}

// Host returns the host of that name, or nil.
func (f *Fabric) Host(name string) *Host { return f.hosts[name] }

// Hosts returns all hosts in order of their names.
func (f *Fabric) Hosts() []*Host {
	hosts := make([]*Host, 0, len(f.hosts))
	for _, name := range slices.Sorted(maps.Keys(f.hosts)) {
		hosts = append(hosts, f.hosts[name])
	}
	return hosts
}

// Build creates all namespaces and links, and runs the commands of the topology,
// except those of routers.
func (f *Fabric) Build(ctx context.Context) error {
	if err := f.addControlPlane(); err != nil {
		return err
	}
	for i, n := range f.topology.Nodes {
		if err := f.addHost(n, i); err != nil {
			return fmt.Errorf("build %s: %w", n.Name, err)
		}
	}
	for _, l := range f.topology.Links {
		if err := f.connect(l); err != nil {
			return fmt.Errorf("connect %s to %s: %w", l.Ends[0], l.Ends[1], err)
		}
	}
	for _, n := range f.topology.Nodes {
		if n.Kind == clab.Router {
			continue // may want to speak to its daemons, which are yet to be started
		}
		if err := RunCommands(ctx, n, f.hosts[n.Name].Netns.Command); err != nil {
			return err
		}
	}
	return nil
}

// RunCommands runs a node's commands one after the other; command makes one that
// runs on the node.
func RunCommands(ctx context.Context, n clab.Node, command func(ctx context.Context, program string, args ...string) *exec.Cmd) error {
	for _, words := range n.Exec {
		out, err := command(ctx, words[0], words[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("run %q on %s: %w: %s", strings.Join(words, " "), n.Name, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// Remove takes all names of namespaces away. Links go with the namespaces, once
// the last process has left them.
func (f *Fabric) Remove() error {
	var errs []error
	for _, h := range f.Hosts() {
		errs = append(errs, h.Netns.Remove())
	}
	return errors.Join(errs...)
}

func (f *Fabric) addControlPlane() error {
	h, err := f.create(ControlPlane, 0, endHostSysctls())
	if err != nil {
		return err
	}
	m := f.topology.Mgmt
	h.Mgmt = []netip.Addr{nth(m.IPv4, 1), nth(m.IPv6, 1)}
	return h.Netns.Enter(func() error {
		if err := addBridge(mgmtBridge, m.MTU, macFor(ControlPlane, mgmtBridge)); err != nil {
			return err
		}
		return assign(mgmtBridge,
			netip.PrefixFrom(h.Mgmt[0], m.IPv4.Bits()),
			netip.PrefixFrom(h.Mgmt[1], m.IPv6.Bits()))
	})
}

func (f *Fabric) addHost(n clab.Node, index int) error {
	settings := endHostSysctls()
	switch n.Kind {
	case clab.Member, clab.Router:
		settings = nodeSysctls()
	case clab.Switch:
		settings = switchSysctls()
	case clab.Client:
	}
	maps.Copy(settings, n.Sysctls)
	h, err := f.create(n.Name, n.Kind, settings)
	if err != nil {
		return err
	}
	if n.Kind == clab.Switch {
		return h.Netns.Enter(func() error { return addBridge(switchBridge, 0, macFor(n.Name, switchBridge)) })
	}
	if !n.Mgmt {
		return nil
	}
	return f.connectMgmt(h, index)
}

func (f *Fabric) create(name string, kind clab.Kind, settings map[string]string) (*Host, error) {
	ns, err := netns.Create(f.prefix + name)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Kind: kind, Netns: ns}
	f.hosts[name] = h
	return h, ns.Enter(func() error { return writeSysctls(settings) })
}

// connectMgmt gives a host its eth0, with a default route of the lowest
// preference, as Docker's network would.
func (f *Fabric) connectMgmt(h *Host, index int) error {
	m := f.topology.Mgmt
	h.Mgmt = []netip.Addr{nth(m.IPv4, index+2), nth(m.IPv6, index+2)}
	l := clab.Link{
		Ends: [2]clab.Endpoint{
			{Node: h.Name, Interface: MgmtInterface},
			{Node: ControlPlane, Interface: fmt.Sprintf("m%d", index)},
		},
		MTU: m.MTU,
	}
	if err := f.connect(l); err != nil {
		return err
	}
	return h.Netns.Enter(func() error {
		if err := assign(MgmtInterface,
			netip.PrefixFrom(h.Mgmt[0], m.IPv4.Bits()),
			netip.PrefixFrom(h.Mgmt[1], m.IPv6.Bits())); err != nil {
			return err
		}
		for _, gateway := range f.hosts[ControlPlane].Mgmt {
			if err := addDefault(MgmtInterface, gateway); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Fabric) connect(l clab.Link) error {
	var ends [2]end
	for i, e := range l.Ends {
		h := f.hosts[e.Node]
		ends[i] = end{ns: h.Netns, name: e.Interface, mac: macFor(e.Node, e.Interface)}
		switch {
		case h.Kind == clab.Switch:
			ends[i].bridge = switchBridge
		case h.Name == ControlPlane:
			ends[i].bridge = mgmtBridge
		}
		h.interfaces = append(h.interfaces, e.Interface)
	}
	f.links = append(f.links, link{ends: l.Ends})
	return addVeth(ends[0], ends[1], l.MTU)
}

// macFor derives a stable, locally administered address from a name, so that two
// runs of one topology can be compared.
func macFor(node, name string) net.HardwareAddr {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s:%s", node, name)
	sum := h.Sum(nil)
	return net.HardwareAddr{0x02, sum[3], sum[4], sum[5], sum[6], sum[7]}
}

// nth returns the nth address of a network.
func nth(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := len(b) - 1; n > 0 && i >= 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
