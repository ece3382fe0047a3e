// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/internal/echo"
	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Host is anything of the topology that has a namespace: a node, a client, a
// router, a switch, the control plane. Its methods may be called by several
// goroutines at once.
type Host struct {
	lab    *Lab
	fabric *fabric.Host
}

// Host returns the host of that name, of whatever kind.
func (l *Lab) Host(name string) (*Host, error) {
	h := l.fabric.Host(name)
	if h == nil {
		var names []string
		for _, h := range l.fabric.Hosts() {
			names = append(names, h.Name)
		}
		return nil, fmt.Errorf("find host %q: there are %s", name, strings.Join(names, ", "))
	}
	return &Host{lab: l, fabric: h}, nil
}

// Client returns the client of that name.
func (l *Lab) Client(name string) (*Host, error) { return l.hostOf(clab.Client, name) }

// Router returns the router of that name.
func (l *Lab) Router(name string) (*Host, error) { return l.hostOf(clab.Router, name) }

// Switch returns the switch of that name.
func (l *Lab) Switch(name string) (*Host, error) { return l.hostOf(clab.Switch, name) }

func (l *Lab) hostOf(kind clab.Kind, name string) (*Host, error) {
	h, err := l.Host(name)
	if err != nil {
		return nil, err
	}
	if h.fabric.Kind != kind {
		return nil, fmt.Errorf("find %s %q: it is a %s", kind, name, h.fabric.Kind)
	}
	return h, nil
}

// Clients returns all clients in order of their names.
func (l *Lab) Clients() []*Host {
	var hosts []*Host
	for _, h := range l.fabric.Hosts() {
		if h.Kind == clab.Client {
			hosts = append(hosts, &Host{lab: l, fabric: h})
		}
	}
	return hosts
}

// Name returns the host's name in the topology.
func (h *Host) Name() string { return h.fabric.Name }

// Netns returns the host's network namespace.
func (h *Host) Netns() *netns.Namespace { return h.fabric.Netns }

// Command returns a command that will run on the host. Its process id is the
// program's own.
func (h *Host) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if flags := h.NsenterFlags(); flags != nil {
		words := append(flags, "--", program)
		return h.fabric.Netns.Command(ctx, "nsenter", append(words, args...)...)
	}
	return h.fabric.Netns.Command(ctx, program, args...)
}

// NsenterFlags are the flags that take nsenter(1) into what a host has of its own
// besides its network: a router has its files and its name.
func (h *Host) NsenterFlags() []string {
	if r := h.lab.routers[h.Name()]; r != nil {
		return r.NsenterFlags()
	}
	return nil
}

// Exec runs a command on the host and returns what it printed to standard
// output. What it printed to standard error is in the error, if there is one.
func (h *Host) Exec(ctx context.Context, program string, args ...string) (string, error) {
	out, err := h.Command(ctx, program, args...).Output()
	if err != nil {
		err = fmt.Errorf("run %s on %s: %w%s", program, h.Name(), err, complaint(err))
	}
	return string(out), err
}

// complaint returns what a failed command printed, for an error message.
func complaint(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return ": " + strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}

// Dial connects from the host; the signature is http.Transport's.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.fabric.Netns.Dial(ctx, network, address)
}

// HTTPClient returns a client that makes each request from the host, on a
// connection of its own. A zero timeout means none.
func (h *Host) HTTPClient(timeout time.Duration) *http.Client {
	return h.fabric.Netns.HTTPClient(timeout)
}

// Addresses returns the global addresses of an interface.
func (h *Host) Addresses(name string) ([]netip.Addr, error) {
	prefixes, err := h.fabric.Prefixes(name)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", h.Name(), err)
	}
	addresses := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		addresses[i] = p.Addr()
	}
	return addresses, nil
}

// MAC returns the hardware address of an interface.
func (h *Host) MAC(name string) (net.HardwareAddr, error) {
	mac, err := h.fabric.HardwareAddr(name)
	if err != nil {
		return nil, fmt.Errorf("hardware address of %s: %w", h.Name(), err)
	}
	return mac, nil
}

// ErrNoNeighbor is the error of MACOf for an address that the host has not
// resolved.
var ErrNoNeighbor = errors.New("no neighbour entry")

// MACOf returns the hardware address that the host's neighbour table has for an
// address, or ErrNoNeighbor.
func (h *Host) MACOf(addr netip.Addr) (net.HardwareAddr, error) {
	var mac net.HardwareAddr
	err := h.eachNeighbor(func(n netlink.Neigh) error {
		ip, _ := netip.AddrFromSlice(n.IP)
		const invalid = netlink.NUD_INCOMPLETE | netlink.NUD_FAILED | netlink.NUD_NOARP
		if ip.Unmap() == addr && n.State&invalid == 0 && len(n.HardwareAddr) > 0 {
			mac = n.HardwareAddr
		}
		return nil
	})
	if err == nil && mac == nil {
		err = ErrNoNeighbor
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s on %s: %w", addr, h.Name(), err)
	}
	return mac, nil
}

// FlushNeighbors makes the host forget all it has resolved.
func (h *Host) FlushNeighbors() error {
	err := h.eachNeighbor(func(n netlink.Neigh) error {
		if n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 {
			return nil
		}
		return netlink.NeighDel(&n)
	})
	if err != nil {
		return fmt.Errorf("flush neighbours of %s: %w", h.Name(), err)
	}
	return nil
}

func (h *Host) eachNeighbor(visit func(netlink.Neigh) error) error {
	return h.Netns().Enter(func() error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			neighbors, err := netlink.NeighList(0, family)
			if err != nil {
				return fmt.Errorf("list neighbours: %w", err)
			}
			for _, n := range neighbors {
				if err := visit(n); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Reply is what an echo pod says: who it is and whom it sees.
type Reply = echo.Reply

// echoPatience bounds a question to an echo server.
const echoPatience = 2 * time.Second

// Echo asks the echo server at an address, over "http", "tcp" or "udp". It waits
// at most two seconds, and no longer than ctx says.
func (h *Host) Echo(ctx context.Context, protocol, address string) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, echoPatience)
	defer cancel()
	network := protocol
	if protocol == "http" {
		network = "tcp"
	}
	conn, err := h.Dial(ctx, network, address)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	reply, err := echo.Ask(ctx, conn, protocol)
	if err != nil {
		return Reply{}, fmt.Errorf("echo %s: %w", address, err)
	}
	return reply, nil
}
