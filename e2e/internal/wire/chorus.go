// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
)

// Chorus is who has spoken for which address, and when. Its methods are safe for
// concurrent use; the zero value has heard nothing.
type Chorus struct {
	mu      sync.Mutex // guards what follows
	answers map[netip.Addr][]Answer
}

// Answer is one frame in which somebody says that it has an address.
type Answer struct {
	At time.Time
	By string // its hardware address
}

// Hear takes a frame that was seen at a time.
func (c *Chorus) Hear(at time.Time, frame []byte) {
	addr, mac, ok := Speaks(frame)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = make(map[netip.Addr][]Answer)
	}
	c.answers[addr] = append(c.answers[addr], Answer{at, mac})
}

// Listen hears all frames of a capture until ctx ends. Its error is next's, if that is of
// another cause.
func (c *Chorus) Listen(ctx context.Context, next func(context.Context) (at time.Time, frame []byte, err error)) error {
	for {
		at, frame, err := next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end that was wanted
			}
			return err
		}
		c.Hear(at, frame)
	}
}

// Since returns the answers for an address from t on, in the order in which they were
// heard.
func (c *Chorus) Since(addr netip.Addr, t time.Time) []Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var since []Answer
	for _, a := range c.answers[addr] {
		if !a.At.Before(t) {
			since = append(since, a)
		}
	}
	return since
}

// Voices returns who has spoken for an address from t on, in order of their addresses.
func (c *Chorus) Voices(addr netip.Addr, t time.Time) []string {
	var voices []string
	for _, a := range c.Since(addr, t) {
		voices = append(voices, a.By)
	}
	slices.Sort(voices)
	return slices.Compact(voices)
}

// Discord returns for how long after t an address had more than one voice, and whose the other
// was: the time of the last answer of anybody but the one who has the last word. Zero: there
// was one only.
func (c *Chorus) Discord(addr netip.Addr, t time.Time) (d time.Duration, by string) {
	answers := c.Since(addr, t)
	if len(answers) == 0 {
		return 0, ""
	}
	last := answers[len(answers)-1].By
	for _, a := range slices.Backward(answers) {
		if a.By != last {
			return a.At.Sub(t), a.By
		}
	}
	return 0, ""
}

// KeepAsking asks who has each of the addresses, again and again until ctx ends: ARP probes
// and neighbor solicitations of a station that is nobody's, which no cache learns anything
// from.
func KeepAsking(ctx context.Context, ns Namespace, ifname string, addrs []netip.Addr, every time.Duration) error {
	conn, err := openPacket(ns, ifname, 0) // protocol 0: send only
	if err != nil {
		return err
	}
	defer conn.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := askAll(conn, addrs); err != nil {
			return fmt.Errorf("ask on %s: %w", ifname, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// WhoHasEach asks once for all addresses together, and returns who answers for each within
// wait.
func WhoHasEach(ns Namespace, ifname string, addrs []netip.Addr, wait time.Duration) (map[netip.Addr][]string, error) {
	const all = 0x0003 // ETH_P_ALL
	conn, err := openPacket(ns, ifname, all)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	begin := time.Now()
	if err := conn.SetReadDeadline(begin.Add(wait)); err != nil {
		return nil, err
	}
	if err := askAll(conn, addrs); err != nil {
		return nil, fmt.Errorf("ask on %s: %w", ifname, err)
	}
	var heard Chorus
	for frame := make([]byte, 1<<11); ; {
		n, _, err := conn.ReadFrom(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", ifname, err)
		}
		heard.Hear(begin, frame[:n])
	}
	found := make(map[netip.Addr][]string, len(addrs))
	for _, addr := range addrs {
		found[addr] = heard.Voices(addr, begin)
	}
	return found, nil
}

func openPacket(ns Namespace, ifname string, protocol int) (conn *packet.Conn, err error) {
	err = ns.Enter(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		conn, err = packet.Listen(ifi, packet.Raw, protocol, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", ifname, err)
	}
	return conn, nil
}

func askAll(conn *packet.Conn, addrs []netip.Addr) error {
	for _, addr := range addrs {
		frame := question(addr)
		_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
		if err != nil && !errors.Is(err, syscall.ENOBUFS) {
			return err
		}
	}
	return nil
}
