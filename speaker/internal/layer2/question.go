// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"
	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/internal/lb"
)

// The pace of a question: requests at 0, 10 and 20 ms, and the end at 40 ms. An owner
// that is there answers in a fraction of a millisecond; three requests for each of a few
// addresses stand the loss of one packet in twenty.
const (
	questionRounds   = 3
	questionInterval = 10 * time.Millisecond
	questionEnd      = 40 * time.Millisecond
	// questionLinger is how long to listen whether anybody is there at all.
	questionLinger = 900 * time.Millisecond
)

// Listener opens sockets that hear what neighbors say, whomever it concerns. The
// kernel's Network is one.
type Listener interface {
	// Listen returns a socket for one protocol on one interface. Its Serve is handed
	// requests, answers and announcements of other stations.
	Listen(p Protocol, i Interface) (Socket, error)
}

// Outcome is what a question came to.
type Outcome uint8

// The outcomes. The zero value is that no interface could be asked on.
const (
	Unable   Outcome = iota
	Silence          // nobody answers
	Answered         // somebody does
)

// Ask asks on the links of this node whether anybody else has one of the addresses,
// each on the interfaces that it would be announced on. It returns as soon as somebody
// answers, and after some tens of milliseconds if nobody does. It asks as one that looks
// for duplicates does (an ARP probe, RFC 5227, section 2.1.1), so that no cache learns
// anything, or by a solicitation from the interface's link-local address.
//
// Others says whether any other station was heard meanwhile. With linger, a question
// that nobody answers goes on for about a second until one is.
func (a *Announcer) Ask(ctx context.Context, addresses []Announcement, linger bool) (o Outcome, others bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := newQuestion(addresses, linger)
	q.answer = func(Claim) {
		q.answered.Store(true)
		cancel()
	}
	asked := a.pose(ctx, q)
	switch {
	case q.answered.Load():
		return Answered, true
	case !asked:
		return Unable, false
	}
	return Silence, q.others.Load()
}

// Who asks as Ask does, takes the same time for one address as for many, and returns
// who answers: one station for each address that somebody else has.
func (a *Announcer) Who(ctx context.Context, addresses []Announcement) map[netip.Addr]Claim {
	q := newQuestion(addresses, false)
	var mu sync.Mutex
	found := make(map[netip.Addr]Claim)
	q.answer = func(c Claim) {
		mu.Lock()
		defer mu.Unlock()
		found[c.Address] = c
	}
	a.pose(ctx, q)
	return found
}

// pose asks a question on all interfaces, and returns whether one could be asked on.
func (a *Announcer) pose(ctx context.Context, q *question) bool {
	interfaces := a.askable()
	for _, i := range interfaces {
		q.own = append(q.own, i.MAC)
	}
	var group errgroup.Group
	asked := atomic.Bool{}
	for _, i := range interfaces {
		for _, p := range []Protocol{ARP, NDP} {
			targets := q.targets(p, i)
			if len(targets) == 0 {
				continue
			}
			group.Go(func() error {
				err := q.ask(ctx, a.listener, p, i, targets)
				if err == nil {
					asked.Store(true)
					return nil
				}
				a.log.Warn("asking on an interface has failed", lb.LogKeyInterface, i.Name, "protocol", p.String(), lb.LogKeyError, err)
				return nil
			})
		}
	}
	_ = group.Wait() // no task returns an error
	return asked.Load()
}

// askable returns the interfaces, if there is a way to ask on them.
func (a *Announcer) askable() []Interface {
	if a.listener == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.interfaces)
}

// question is one call of Ask or Who.
type question struct {
	addresses []Announcement
	own       []mac // the hardware addresses of this node
	linger    bool
	answer    func(Claim) // takes answers, of several interfaces at once

	answered, others atomic.Bool
	heard            chan struct{} // closed when others is true
}

func newQuestion(addresses []Announcement, linger bool) *question {
	q := &question{linger: linger, heard: make(chan struct{})}
	for _, n := range addresses {
		n.Address = n.Address.Unmap().WithZone("")
		q.addresses = append(q.addresses, n)
	}
	return q
}

// targets are the addresses to ask for on an interface.
func (q *question) targets(p Protocol, i Interface) []netip.Addr {
	if !Usable(i, p) {
		return nil
	}
	var targets []netip.Addr
	for _, n := range q.addresses {
		if p.carries(n.Address) && (len(n.Interfaces) == 0 || slices.Contains(n.Interfaces, i.Name)) {
			targets = append(targets, n.Address)
		}
	}
	return targets
}

// ask asks on one interface, until the question is answered or over.
func (q *question) ask(ctx context.Context, l Listener, p Protocol, i Interface, targets []netip.Addr) error {
	frames, err := questions(p, i, targets)
	if err != nil {
		return err
	}
	socket, err := l.Listen(p, i)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.Go(func() error {
		if err := socket.Serve(hearing{q, p, i.Name, targets}); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	err = q.send(ctx, socket, frames)
	return errors.Join(err, socket.Close(), group.Wait())
}

// send sends the requests, and waits for the end.
func (q *question) send(ctx context.Context, socket Socket, frames [][]byte) error {
	for range questionRounds {
		for _, frame := range frames {
			if err := socket.Send(frame); err != nil {
				return err
			}
		}
		wait(ctx, questionInterval)
	}
	wait(ctx, questionEnd-questionRounds*questionInterval)
	if !q.linger {
		return nil
	}
	timer := time.NewTimer(questionLinger)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-q.heard:
	}
	return nil
}

// hearing takes what a question hears on one interface. It is an Answerer that has
// nothing to say.
type hearing struct {
	question *question
	protocol Protocol
	on       string // the interface
	targets  []netip.Addr
}

// Answer implements Answerer.
func (h hearing) Answer(frame []byte) []byte {
	if len(frame) < ethernetLen || slices.Contains(h.question.own, mac(frame[6:])) {
		return nil
	}
	if !h.question.others.Swap(true) {
		close(h.question.heard)
	}
	if c, ok := claimIn(h.protocol, frame); ok && slices.Contains(h.targets, c.Address) {
		c.Interface = h.on
		h.question.answer(c)
	}
	return nil
}

// Answered implements Answerer.
func (h hearing) Answered() {}

// claimIn is which address a frame says that a station has, by the parsers that listen
// while announcing.
func claimIn(p Protocol, frame []byte) (Claim, bool) {
	if p == ARP {
		packet, ok := parseARP(frame)
		return Claim{Address: netip.AddrFrom4(packet.senderAddr), MAC: packet.sender}, ok
	}
	target, at, ok := parseAdvertisement(frame)
	return Claim{Address: netip.AddrFrom16(target), MAC: at}, ok
}

// questions returns the frames that ask for the targets.
func questions(p Protocol, i Interface, targets []netip.Addr) ([][]byte, error) {
	frames := make([][]byte, 0, len(targets))
	for _, t := range targets {
		if p == NDP {
			frames = append(frames, solicitationFor(t.As16(), i))
			continue
		}
		probe, err := arp.NewPacket(arp.OperationRequest, i.MAC[:], netip.IPv4Unspecified(), make(net.HardwareAddr, len(i.MAC)), t)
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", t, err)
		}
		body, err := probe.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", t, err)
		}
		frame := make([]byte, ethernetLen, ethernetLen+len(body))
		putEthernet(frame, broadcast(), i.MAC, etherTypeARP)
		frames = append(frames, append(frame, body...))
	}
	return frames, nil
}

// solicitationFor is a neighbor solicitation by multicast (RFC 4861, section 4.3).
func solicitationFor(target [16]byte, i Interface) []byte {
	frame := make([]byte, naFrameLen) // both kinds have the same length
	group := solicitedNode(target)
	putEthernet(frame, mac{0x33, 0x33, group[12], group[13], group[14], group[15]}, i.MAC, etherTypeIPv6)
	putIPv6(frame, i.LinkLocal6.As16(), group, naFrameLen-icmpAt)
	frame[icmpAt] = neighborSolicitation
	copy(frame[targetAt:], target[:])
	frame[optionsAt], frame[optionsAt+1] = sourceLinkLayer, 1
	copy(frame[optionsAt+2:], i.MAC[:])
	binary.BigEndian.PutUint16(frame[icmpChecksumAt:], checksum(frame))
	return frame
}

// Listen implements Listener.
func (k *kernel) Listen(p Protocol, i Interface) (Socket, error) {
	says, etherType := saysByARP(), uint16(etherTypeARP)
	if p == NDP {
		says, etherType = saysByNDP(), etherTypeIPv6
	}
	program, err := bpf.Assemble(append(resolve(slices.Concat(says, reachesUs())), bpf.RetConstant{Val: snapLen}))
	if err != nil {
		return nil, fmt.Errorf("assemble %s filter: %w", p, err)
	}
	s := &packetSocket{kernel: k, protocol: p, fd: -1, bell: -1}
	if err := s.open(i.Index, etherType, program); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s socket on %s: %w", p, i.Name, err), s.release())
	}
	return s, nil
}

// saysByARP drops all but ARP.
func saysByARP() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherTypeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeARP, SkipTrue: drop},
	}
}

// saysByNDP drops all but what neighbor discovery is made of.
func saysByNDP() []bpf.Instruction {
	const routerSolicitation = 133
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ipv6NextHeaderAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ipv6ICMP<<8 | hopLimit, SkipTrue: drop},
		bpf.LoadAbsolute{Off: icmpAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: routerSolicitation, SkipTrue: drop},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: neighborAdvertisement, SkipTrue: drop},
	}
}
