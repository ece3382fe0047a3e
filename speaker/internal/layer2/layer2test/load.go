// SPDX-License-Identifier: Apache-2.0

package layer2test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// lostAfter is how long nothing may come until all outstanding requests count as
// lost and are sent again.
const lostAfter = 200 * time.Millisecond

// Load is an ARP client that keeps a number of requests outstanding, and sends
// another one for each answer. It asks for the addresses from First on, in a
// random order.
//
// It measures the responder, not itself: it has a thread of its own and never
// sleeps, unless Sleep is set, so that being woken is no part of the figures.
type Load struct {
	Interface string     // in the namespace of the thread that calls Run
	Source    netip.Addr // IPv4, the client's own
	First     netip.Addr // IPv4
	Count     int        // of addresses
	Window    int        // requests outstanding
	Duration  time.Duration
	Sleep     bool // wait for answers asleep, as most clients do
}

// LoadResult is what a Load has measured.
type LoadResult struct {
	Answers   int           `json:"answers"`
	Lost      int           `json:"lost"` // requests without an answer
	PerSecond float64       `json:"perSecond"`
	P50       time.Duration `json:"p50Nanoseconds"` // from sending a request to its answer
	P99       time.Duration `json:"p99Nanoseconds"`
}

// load is a Load that runs.
type load struct {
	Load
	fd      int
	first   uint32
	request [42]byte
	sent    [][]time.Time // outstanding requests, by address, oldest first
	next    uint32        // state of the random order
	delays  []time.Duration
	lost    int
}

// Run sends requests for l.Duration, or until ctx ends, and returns what came of
// them. It needs CAP_NET_RAW.
func (l Load) Run(ctx context.Context) (LoadResult, error) {
	if !l.Source.Is4() || !l.First.Is4() || l.Count < 1 || l.Window < 1 {
		return LoadResult{}, errors.New("run ARP load: it needs IPv4 addresses, and a count and a window of at least 1")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	iface, err := net.InterfaceByName(l.Interface)
	if err != nil {
		return LoadResult{}, fmt.Errorf("run ARP load: %w", err)
	}
	conn, err := openForReplies(iface)
	if err != nil {
		return LoadResult{}, fmt.Errorf("run ARP load: %w", err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return LoadResult{}, fmt.Errorf("run ARP load: %w", err)
	}
	var result LoadResult
	err = raw.Control(func(fd uintptr) { result, err = l.start(int(fd), iface).run(ctx) })
	return result, err
}

func (l Load) start(fd int, iface *net.Interface) *load {
	r := &load{Load: l, fd: fd, sent: make([][]time.Time, l.Count), next: 1}
	first := l.First.As4()
	r.first = binary.BigEndian.Uint32(first[:])
	b := r.request[:0]
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, iface.HardwareAddr...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	b = append(b, iface.HardwareAddr...)
	_ = append(b, l.Source.AsSlice()...)
	return r
}

// openForReplies returns a socket that receives ARP replies only.
func openForReplies(iface *net.Interface) (*packet.Conn, error) {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 20, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipFalse: 1},
		bpf.RetConstant{Val: 64},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	return packet.Listen(iface, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: program})
}

func (l *load) run(ctx context.Context) (LoadResult, error) {
	begin := time.Now()
	last, now := begin, begin
	if err := l.fill(begin); err != nil {
		return LoadResult{}, err
	}
	var buffer [64]byte
	for now.Sub(begin) < l.Duration && ctx.Err() == nil {
		n, err := unix.Read(l.fd, buffer[:])
		now = time.Now()
		switch {
		case err == nil:
			if !l.receive(buffer[:n], now) {
				continue
			}
			last = now
			err = l.ask(now)
		case errors.Is(err, unix.EAGAIN):
			err = l.idle(now.Sub(last) > lostAfter, now)
			if now.Sub(last) > lostAfter {
				last = now
			}
		case errors.Is(err, unix.EINTR):
			err = nil
		}
		if err != nil {
			return LoadResult{}, fmt.Errorf("run ARP load: %w", err)
		}
	}
	return l.result(now.Sub(begin)), nil
}

// idle is called when there is nothing to read.
func (l *load) idle(late bool, now time.Time) error {
	if late {
		for i, at := range l.sent {
			l.lost += len(at)
			l.sent[i] = at[:0]
		}
		return l.fill(now)
	}
	if !l.Sleep {
		return nil
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, int(lostAfter.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// fill sends a whole window of requests.
func (l *load) fill(now time.Time) error {
	for range l.Window {
		if err := l.ask(now); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a request for a random address.
func (l *load) ask(now time.Time) error {
	l.next = l.next*1664525 + 1013904223
	i := uint64(l.next) * uint64(l.Count) >> 32
	binary.BigEndian.PutUint32(l.request[38:], l.first+uint32(i))
	l.sent[i] = append(l.sent[i], now)
	_, err := unix.Write(l.fd, l.request[:])
	return err
}

// receive notes the answer to a request, and says whether it was one.
func (l *load) receive(frame []byte, now time.Time) bool {
	if len(frame) < 42 || [6]byte(frame) != [6]byte(l.request[6:]) {
		return false
	}
	i := int64(binary.BigEndian.Uint32(frame[28:])) - int64(l.first)
	if i < 0 || i >= int64(l.Count) || len(l.sent[i]) == 0 {
		return false
	}
	at := l.sent[i]
	l.delays = append(l.delays, now.Sub(at[0]))
	l.sent[i] = slices.Delete(at, 0, 1)
	return true
}

func (l *load) result(elapsed time.Duration) LoadResult {
	r := LoadResult{Answers: len(l.delays), Lost: l.lost, PerSecond: float64(len(l.delays)) / elapsed.Seconds()}
	if len(l.delays) > 0 {
		slices.Sort(l.delays)
		r.P50 = l.delays[len(l.delays)/2]
		r.P99 = l.delays[len(l.delays)*99/100]
	}
	return r
}
