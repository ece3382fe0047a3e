// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// A pod has CAP_NET_RAW and nothing else.
func TestNetRawIsEnough(t *testing.T) {
	host, peer := linktest.Host(t), linktest.New(t)
	host.Veth(t, "raw0", peer, "eth0")
	i := Interface{Index: host.Index(t, "raw0"), Name: "raw0", MAC: host.MAC(t, "raw0")}
	open := func() error {
		for _, p := range []Protocol{ARP, NDP} {
			s, err := new(kernel).Open(p, i)
			if err != nil {
				return err
			}
			if err := errors.Join(s.Send(make([]byte, 60)), s.Close()); err != nil {
				return err
			}
		}
		m := new(kernel).Memberships(i)
		return errors.Join(m.Join(netip.MustParseAddr("ff02::1:ff00:1")), m.Close())
	}
	if err := linktest.WithCapabilities(open, unix.CAP_NET_RAW); err != nil {
		t.Errorf("with CAP_NET_RAW: %v", err)
	}
	if err := linktest.WithCapabilities(open); !errors.Is(err, unix.EPERM) {
		t.Errorf("without capabilities: %v, want EPERM", err)
	}
}

// pair returns two ends of a connection that keeps the borders of packets: the
// first for a reader, the second for its peer.
func pair(t *testing.T) (fd, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return fds[0], fds[1]
}

func testReader(cores int) *reader {
	return newReader(&packetSocket{kernel: new(kernel)}, testARPCodec("192.0.2.100"), cores)
}

func TestReaderDrains(t *testing.T) {
	fd, peer := pair(t)
	r := testReader(1)
	ask := arpFrame(t, broadcast(), 1, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
	tooLong := append(ask[:len(ask):len(ask)], make([]byte, maxFrame)...)
	for _, frame := range [][]byte{ask, tooLong, ask[:20], ask} {
		if _, err := unix.Write(peer, frame); err != nil {
			t.Fatal(err)
		}
	}
	if r.drain(uintptr(fd)) {
		t.Fatalf("the socket has failed: %v", r.err)
	}
	buffer := make([]byte, maxFrame)
	for range 2 {
		if n, err := unix.Read(peer, buffer); err != nil || n != arpFrameLen {
			t.Errorf("answer of %d bytes, error %v", n, err)
		}
	}
	if _, err := unix.Read(peer, buffer); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a third answer, to two good requests in four frames (%v)", err)
	}
	if n := r.answerer.(*arpCodec).last.responses.Load(); n != 2 {
		t.Errorf("%d answers counted, want 2", n)
	}
}

func TestReaderEnds(t *testing.T) {
	fd, _ := pair(t)
	r := testReader(1)
	r.socket.closed.Store(true)
	if !r.drain(uintptr(fd)) || !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("closed: %v", r.err)
	}
	r = testReader(1)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // cannot be read
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if !r.drain(null.Fd()) || !errors.Is(r.err, unix.EBADF) {
		t.Errorf("failed: %v", r.err)
	}
}

// The whole way from the request to its answer, in both of its moods.
func TestReaderAllocatesNothing(t *testing.T) {
	ask := arpFrame(t, broadcast(), 1, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
	buffer := make([]byte, maxFrame)
	for _, cores := range []int{1, 2} {
		fd, peer := pair(t)
		r := testReader(cores)
		n := testing.AllocsPerRun(1000, func() {
			_, _ = unix.Write(peer, ask)
			r.drain(uintptr(fd))
			_, _ = unix.Read(peer, buffer)
		})
		if n != 0 {
			t.Errorf("on %d cores: %v allocations for an answer", cores, n)
		}
	}
}
