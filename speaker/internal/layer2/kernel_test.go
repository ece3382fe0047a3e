// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
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

// pair returns two ends of a connection that keeps the borders of packets: a
// socket, which belongs to the test, and the descriptor of its peer.
func pair(t *testing.T) (s *packetSocket, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return &packetSocket{kernel: new(kernel), fd: fds[0], bell: bell}, fds[1]
}

func testRequest(t *testing.T) []byte {
	return arpFrame(t, broadcast(), 1, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "192.0.2.100")
}

func TestReaderDrains(t *testing.T) {
	s, peer := pair(t)
	defer s.Close()
	codec := testARPCodec("192.0.2.100")
	ask := testRequest(t)
	tooLong := append(slices.Clip(ask), make([]byte, maxFrame)...)
	for _, frame := range [][]byte{ask, tooLong, ask[:20], ask} {
		if _, err := unix.Write(peer, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := newReader(s, codec, 1).drain(); err != nil {
		t.Fatalf("the socket has failed: %v", err)
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
	if n := codec.last.responses.Load(); n != 2 {
		t.Errorf("%d answers counted, want 2", n)
	}
}

// Close ends a Serve that sleeps and a Send that waits for room.
func TestSocketCloses(t *testing.T) {
	s, _ := pair(t)
	served, sent := make(chan error), make(chan error)
	go func() { served <- s.Serve(testARPCodec()) }()
	go func() {
		for { // nobody reads them
			if err := s.Send(make([]byte, 4096)); err != nil {
				sent <- err
				return
			}
		}
	}()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	if err := <-sent; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if err := s.Send(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
}

func TestSocketFails(t *testing.T) {
	s, peer := pair(t)
	defer s.Close()
	null, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0) // cannot be read
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(null, s.fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(null)
	if err := s.Serve(testARPCodec()); !errors.Is(err, unix.EBADF) {
		t.Errorf("Serve: %v", err)
	}
	if err := unix.Dup3(peer, s.fd, unix.O_CLOEXEC); err != nil { // the other end is closed
		t.Fatal(err)
	}
	if err := s.Send([]byte{1}); !errors.Is(err, unix.EPIPE) {
		t.Errorf("Send: %v", err)
	}
}

// The whole way from the request to its answer, awake and asleep.
func TestReaderAllocatesNothing(t *testing.T) {
	ask := testRequest(t)
	buffer := make([]byte, maxFrame)
	for _, cores := range []int{1, 2} {
		s, peer := pair(t)
		defer s.Close()
		r := newReader(s, testARPCodec("192.0.2.100"), cores)
		n := testing.AllocsPerRun(1000, func() {
			_, _ = unix.Write(peer, ask)
			_ = s.wait(unix.POLLIN)
			_ = r.drain()
			r.await()
			_, _ = unix.Read(peer, buffer)
		})
		if n != 0 {
			t.Errorf("on %d cores: %v allocations for an answer", cores, n)
		}
	}
}
