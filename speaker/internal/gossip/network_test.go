// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// network is a LAN in memory. It works with fake time, loses packets silently like a
// real one, and can be partitioned.
type network struct {
	mu    sync.Mutex // guards what follows
	hosts map[string]*host
	// side tells hosts apart that cannot reach each other. Unset: 0.
	side map[string]int
}

func newNetwork() *network {
	return &network{hosts: make(map[string]*host), side: make(map[string]int)}
}

// host is one address on the network: a memberlist transport.
type host struct {
	net     *network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

var _ memberlist.NodeAwareTransport = (*host)(nil)

// plug connects a new host, in place of any that had the address before.
func (n *network) plug(ip netip.Addr) *host {
	h := &host{
		net: n, addr: netip.AddrPortFrom(ip, testPort),
		packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn),
		closed: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[h.addr.String()] = h
	return h
}

// move puts addresses on a side of the partition.
func (n *network) move(side int, ips ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ip := range ips {
		n.side[netip.AddrPortFrom(ip, testPort).String()] = side
	}
}

// reach returns the host at addr; nil if packets to it vanish.
func (n *network) reach(from netip.AddrPort, addr string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.side[from.String()] != n.side[addr] {
		return nil
	}
	return n.hosts[addr]
}

func (h *host) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return h.addr.Addr().AsSlice(), int(h.addr.Port()), nil
}

func (h *host) WriteTo(b []byte, addr string) (time.Time, error) {
	if to := h.net.reach(h.addr, addr); to != nil {
		p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(h.addr), Timestamp: time.Now()}
		select {
		case to.packets <- p:
		case <-to.closed:
		default: // its queue is full
		}
	}
	return time.Now(), nil
}

func (h *host) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return h.WriteTo(b, a.Addr)
}

func (h *host) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	to := h.net.reach(h.addr, addr)
	if to == nil {
		<-timer.C
		return nil, os.ErrDeadlineExceeded
	}
	ours, theirs := net.Pipe()
	select {
	case to.streams <- theirs:
		return ours, nil
	case <-to.closed:
		return nil, errors.New("connection refused")
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	}
}

func (h *host) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return h.DialTimeout(a.Addr, timeout)
}

func (h *host) PacketCh() <-chan *memberlist.Packet { return h.packets }
func (h *host) StreamCh() <-chan net.Conn           { return h.streams }

func (h *host) Shutdown() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
