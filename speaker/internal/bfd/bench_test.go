// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// mirrorOf is the environment variable that makes the test program the other end
// of a number of sessions, in a namespace of its own.
const mirrorOf = "HERALD_TEST_BFD_MIRROR"

var benchLocal = netip.MustParseAddr("10.9.0.1")

func benchPeer(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(1 + i>>8), byte(i)}) }

// mirror is that other end. It returns when it is interrupted.
func mirror(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := New(Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	for i := range n {
		c := every(fast)
		c.Echo = n == 1 // its socket, and that for a device, need CAP_NET_RAW
		if err := s.Set(Path{Peer: benchLocal, Local: benchPeer(i), Interface: "eth0"}, c); err != nil {
			return err
		}
	}
	return s.Run(ctx)
}

// BenchmarkSessions measures what sessions of 50 ms x 3 cost this process in CPU
// time, the kernel's part included, which on a veth pair is all the way to the
// socket at the other end. An operation is one second of one session.
func BenchmarkSessions(b *testing.B) {
	for _, count := range []int{1, 10, 100, 300} {
		b.Run(fmt.Sprintf("sessions=%d", count), func(b *testing.B) { benchmarkSessions(b, count, Options{}) })
	}
}

// BenchmarkTogether is the same for as few as a speaker has with other speakers.
func BenchmarkTogether(b *testing.B) {
	for _, together := range []bool{false, true} {
		b.Run(fmt.Sprintf("sessions=4/together=%t", together), func(b *testing.B) {
			benchmarkSessions(b, 4, Options{Together: together})
		})
	}
}

func benchmarkSessions(b *testing.B, count int, o Options) {
	r := newRouter(b)
	r.host.AddAddress(b, "host0", benchLocal.String()+"/16")
	for i := range count {
		r.AddAddress(b, "eth0", benchPeer(i).String()+"/16")
	}
	b.Setenv(mirrorOf, strconv.Itoa(count))
	r.start(b, "/proc/self/exe")
	n := newNodeWith(b, o)
	for i := range count {
		n.set(b, Path{Peer: benchPeer(i)}, every(fast))
	}
	for i := range count {
		n.await(b, Path{Peer: benchPeer(i)}, Up)
		n.settled(b, Path{Peer: benchPeer(i)}, fast, 3*fast)
	}
	const duration = 5 * time.Second
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	packets, cpu := n.packets(), cpuTime(b)
	timer := time.NewTimer(duration)
	<-timer.C
	packets, cpu = n.packets()-packets, cpuTime(b)-cpu
	runtime.ReadMemStats(&after)
	flaps := 0
	for i := range count {
		flaps += len(n.take(Path{Peer: benchPeer(i)}))
	}
	percent := 100 * cpu.Seconds() / duration.Seconds() / float64(count)
	b.ReportMetric(percent, "%core/session")
	b.ReportMetric(100/percent, "sessions/core")
	b.ReportMetric(float64(cpu.Microseconds())/float64(packets), "µs/packet")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(packets), "allocs/packet")
	b.ReportMetric(float64(flaps), "changes")
	b.ReportMetric(0, "ns/op")
}

// packets are all those received and sent.
func (n *node) packets() (sum uint64) {
	n.Sessions.mu.Lock()
	defer n.Sessions.mu.Unlock()
	for _, e := range n.byPath {
		sum += e.counters.controlIn + e.counters.controlOut
	}
	return sum
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMachine is a packet received and a look at the timers.
func BenchmarkMachine(b *testing.B) {
	c, _ := every(fast).complete()
	random := New(Options{Log: slog.New(slog.DiscardHandler)}).random
	now := time.Unix(1000, 0)
	m := newMachine(c, true, 1, random, now)
	wire := (&Packet{State: Init, DetectMultiplier: 3, MyDiscriminator: 2, YourDiscriminator: 1, DesiredMinTx: fast, RequiredMinRx: fast}).append(nil)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(20 * ms)
		p, err := parse(wire)
		if err != nil {
			b.Fatal(err)
		}
		m.receive(&p, now)
		m.advance(now)
	}
}
