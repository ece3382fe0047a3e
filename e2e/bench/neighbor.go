// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// loop is the outcome of a closed loop of requests.
type loop struct {
	latencies  []time.Duration // sorted
	unanswered []netip.Addr
	took       time.Duration
}

// rate returns answers per second.
func (l loop) rate() float64 { return float64(len(l.latencies)) / l.took.Seconds() }

// quantile returns the latency that a fraction q of the answers did not exceed.
func (l loop) quantile(q float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	return l.latencies[int(q*float64(len(l.latencies)-1))]
}

// patience is how long a request may stay without an answer before its place in the
// window is given to another.
const patience = 100 * time.Millisecond

// closedLoop keeps window requests outstanding for random ones of addresses for
// as long as told, on the interface of the calling thread's network namespace. It waits
// awake for answers, as one does that asks for its whole neighborhood: the kernel's own
// answer is there before the request has been sent, and to wake a client that sleeps, on
// a core that sleeps, costs more than either answer.
func closedLoop(ifname string, self netip.Addr, addresses []netip.Addr, window int, during time.Duration) (loop, error) {
	random := rand.New(rand.NewPCG(1, 2))
	end := time.Now().Add(during)
	return ask(ifname, self, min(window, len(addresses)), true, func() (netip.Addr, bool) {
		return addresses[random.IntN(len(addresses))], time.Now().Before(end)
	})
}

// sweep asks for each of addresses once. It sleeps until there are answers: whoever is
// to answer may be about to start.
func sweep(ifname string, self netip.Addr, addresses []netip.Addr) (loop, error) {
	const window = 32
	return ask(ifname, self, window, false, func() (a netip.Addr, ok bool) {
		if len(addresses) == 0 {
			return a, false
		}
		a, addresses = addresses[0], addresses[1:]
		return a, true
	})
}

// ask keeps window requests outstanding, for the addresses that next returns,
// until it has no more. It waits for answers awake or asleep in the kernel, because
// what it measures is faster than a wake-up of a goroutine.
func ask(ifname string, self netip.Addr, window int, awake bool, next func() (netip.Addr, bool)) (loop, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return loop{}, err
	}
	p := protocolOf(ifi.HardwareAddr, self)
	fd, err := open(ifi.Index, p)
	if err != nil {
		return loop{}, fmt.Errorf("open packet socket on %s: %w", ifname, err)
	}
	defer func() { _ = unix.Close(fd) }()
	a := &asker{
		fd: fd, awake: awake, next: next, more: true, protocol: p,
		asked: make(map[netip.Addr]time.Time, window),
	}
	return a.run(window)
}

// protocol is how neighbors are asked for.
type protocol interface {
	etherType() uint16
	// answers is a filter that lets answers through, and little else.
	answers() []bpf.Instruction
	// request returns the frame that asks for an address, until it is called again.
	request(target netip.Addr) []byte
	// answer returns the address that a frame is an answer for.
	answer(frame []byte) (of netip.Addr, ok bool)
}

// protocolOf returns that of the family of the asker's own address.
func protocolOf(mac net.HardwareAddr, self netip.Addr) protocol {
	if self.Is4() {
		return newARPFrame(mac, self)
	}
	return solicitor{mac, self}
}

// open returns a socket that receives answers on the interface and gives up waiting for
// one after a while.
func open(index int, p protocol) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return 0, err
	}
	program, err := bpf.Assemble(p.answers())
	if err != nil {
		return 0, err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(p.etherType()), Ifindex: index}))
	if err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// asker is one loop of requests.
type asker struct {
	protocol

	fd    int
	awake bool
	next  func() (netip.Addr, bool)
	more  bool
	asked map[netip.Addr]time.Time
	out   loop
}

func (a *asker) run(window int) (loop, error) {
	begin := time.Now()
	buffer := make([]byte, 128)
	for a.more || len(a.asked) > 0 {
		if err := a.fill(window); err != nil {
			return loop{}, fmt.Errorf("send request: %w", err)
		}
		n, err := a.receive(buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			a.giveUp()
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return loop{}, fmt.Errorf("receive answer: %w", err)
		default:
			a.answered(buffer[:n])
		}
	}
	a.out.took = time.Since(begin)
	slices.Sort(a.out.latencies)
	return a.out, nil
}

// receive returns the next frame, or EAGAIN if there is none for too long.
func (a *asker) receive(buffer []byte) (n int, err error) {
	if !a.awake {
		n, _, err = unix.Recvfrom(a.fd, buffer, 0)
		return n, err
	}
	for end := time.Now().Add(patience); ; {
		n, _, err = unix.Recvfrom(a.fd, buffer, unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(end) {
			return n, err
		}
	}
}

// fill sends requests until window are outstanding or there are no more. An address
// that is being asked for already is passed over.
func (a *asker) fill(window int) error {
	for a.more && len(a.asked) < window {
		var target netip.Addr
		if target, a.more = a.next(); !a.more {
			break
		}
		if _, outstanding := a.asked[target]; outstanding {
			continue
		}
		frame := a.request(target)
		a.asked[target] = time.Now()
		if err := unix.Send(a.fd, frame, 0); err != nil {
			return err
		}
	}
	return nil
}

// answered takes the time of a reply to one of the outstanding requests.
func (a *asker) answered(frame []byte) {
	of, ok := a.answer(frame)
	if !ok {
		return
	}
	if at, ok := a.asked[of]; ok {
		a.out.latencies = append(a.out.latencies, time.Since(at))
		delete(a.asked, of)
	}
}

// giveUp forgets requests that nobody has answered.
func (a *asker) giveUp() {
	for target, at := range a.asked {
		if time.Since(at) >= patience {
			delete(a.asked, target)
			a.out.unanswered = append(a.out.unanswered, target)
		}
	}
}
