// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// advertiseEvery is how often an interface with an unnumbered peer is advertised,
	// which is what lets the peer find us; advertiseFirst and hasty are how often and for
	// how many times at the start (RFC 4861, 6.2.4, but faster: there is one router).
	advertiseEvery = 10 * time.Second
	advertiseFirst = time.Second
	hasty          = 3
	// reopenAfter is the pause after a socket has failed, or the interface is not there.
	reopenAfter = time.Second
)

// links finds the peers at the other end of interfaces, by their router advertisements
// (RFC 4861), and lets them find us. Our own advertisements make us nobody's default
// router: their lifetime is zero.
type links struct {
	log   *slog.Logger
	found func() // a neighbor is there, or is another one
	bell  chan struct{}

	mu        sync.Mutex // guards what follows
	wanted    map[string]struct{}
	neighbors map[string]netip.Addr
}

func newLinks(log *slog.Logger, found func()) *links {
	return &links{log: log, found: found, bell: make(chan struct{}, 1), neighbors: make(map[string]netip.Addr)}
}

// follow says on which interfaces to look.
func (l *links) follow(names map[string]struct{}) {
	l.mu.Lock()
	l.wanted = maps.Clone(names)
	maps.DeleteFunc(l.neighbors, func(name string, _ netip.Addr) bool {
		_, ok := names[name]
		return !ok
	})
	l.mu.Unlock()
	ring(l.bell)
}

// neighbor returns the router at the other end of an interface, with its zone.
func (l *links) neighbor(name string) (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.neighbors[name]
	return a, ok
}

// run looks until ctx ends.
func (l *links) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	followed := make(map[string]context.CancelFunc)
	defer func() {
		for _, cancel := range followed {
			cancel()
		}
	}()
	for {
		l.mu.Lock()
		wanted := l.wanted
		l.mu.Unlock()
		for name, cancel := range followed {
			if _, ok := wanted[name]; !ok {
				cancel()
				delete(followed, name)
			}
		}
		for name := range wanted {
			if _, ok := followed[name]; !ok {
				on, cancel := context.WithCancel(ctx)
				followed[name] = cancel
				running.Go(func() { l.stay(on, name) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.bell:
		}
	}
}

// stay looks on one interface, again and again if it must.
func (l *links) stay(ctx context.Context, name string) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		err := l.look(ctx, name)
		if ctx.Err() == nil && text(err) != told {
			told = text(err)
			l.log.Warn("interface of an unnumbered peer", lb.LogKeyInterface, name, lb.LogKeyError, err)
		}
		pause.Reset(reopenAfter)
	}
}

// look advertises and listens until ctx ends or the socket fails.
func (l *links) look(ctx context.Context, name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	conn, _, err := ndp.Listen(i, ndp.LinkLocal)
	if err != nil {
		return fmt.Errorf("open an ICMPv6 socket: %w", err)
	}
	if err := onlyAdvertisements(conn); err != nil {
		_ = conn.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	for sent := 0; ctx.Err() == nil; sent++ {
		if err := advertise(conn, i, sent == 0); err != nil {
			return err
		}
		until := time.Now().Add(advertiseEvery)
		if sent < hasty {
			until = time.Now().Add(advertiseFirst)
		}
		if err := l.listen(ctx, conn, name, until); err != nil {
			return err
		}
	}
	return nil
}

// onlyAdvertisements has the kernel hand over nothing else, each with its hop limit.
func onlyAdvertisements(conn *ndp.Conn) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := conn.SetICMPFilter(&filter); err != nil {
		return fmt.Errorf("filter ICMPv6: %w", err)
	}
	if err := conn.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
		return fmt.Errorf("ask for hop limits: %w", err)
	}
	return nil
}

// advertise sends a router advertisement, and asks for one if need be.
func advertise(conn *ndp.Conn, i *net.Interface, ask bool) error {
	source := &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: i.HardwareAddr}
	messages := []ndp.Message{&ndp.RouterAdvertisement{Options: []ndp.Option{source}}}
	to := []netip.Addr{netip.IPv6LinkLocalAllNodes()}
	if ask {
		messages = append(messages, &ndp.RouterSolicitation{Options: []ndp.Option{source}})
		to = append(to, netip.IPv6LinkLocalAllRouters())
	}
	for k := range messages {
		if err := conn.WriteTo(messages[k], nil, to[k].WithZone(i.Name)); err != nil {
			return fmt.Errorf("advertise ourselves: %w", err)
		}
	}
	return nil
}

// listen takes note of router advertisements until then.
func (l *links) listen(ctx context.Context, conn *ndp.Conn, name string, until time.Time) error {
	if err := conn.SetReadDeadline(until); err != nil {
		return fmt.Errorf("listen for router advertisements: %w", err)
	}
	for ctx.Err() == nil { // the deadline may have overwritten that of the end
		m, control, from, err := conn.ReadFrom()
		var bad net.Error
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.As(err, &bad) && !bad.Timeout():
			return fmt.Errorf("listen for router advertisements: %w", err)
		case err != nil: // a message that nobody should send
			continue
		}
		// RFC 4861, 6.1.2: what comes from beyond the link has been forwarded.
		if _, ok := m.(*ndp.RouterAdvertisement); ok && from.IsLinkLocalUnicast() && control != nil && control.HopLimit == 255 {
			l.learn(name, from.WithZone(name))
		}
	}
	return nil
}

func (l *links) learn(name string, a netip.Addr) {
	l.mu.Lock()
	_, wanted := l.wanted[name]
	news := wanted && l.neighbors[name] != a
	if news {
		l.neighbors[name] = a
	}
	l.mu.Unlock()
	if news {
		l.log.Info("unnumbered peer found", lb.LogKeyInterface, name, lb.LogKeyIP, a)
		l.found()
	}
}
