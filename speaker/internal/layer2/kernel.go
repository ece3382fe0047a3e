// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// kernel is the Network of the kernel: AF_PACKET sockets, for which CAP_NET_RAW
// is enough.
type kernel struct {
	// spinning is true while one of the sockets spins: two of them might take
	// both cores of a small node.
	spinning atomic.Bool
}

// Open implements Network.
func (k *kernel) Open(p Protocol, i Interface) (Socket, error) {
	program, err := filter(p, nil)
	if err != nil {
		return nil, err
	}
	etherType := uint16(etherTypeARP)
	if p == NDP {
		etherType = etherTypeIPv6
	}
	s := &packetSocket{kernel: k, protocol: p, fd: -1, bell: -1}
	if err := s.open(i.Index, etherType, program); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s socket on %s: %w", p, i.Name, err), s.release())
	}
	return s, nil
}

// Memberships implements Network.
func (k *kernel) Memberships(i Interface) Memberships { return newMemberships(i) }

// packetSocket is an AF_PACKET socket.
//
// Whoever serves it sleeps in poll(2), on a thread, instead of in the runtime's
// poller. That thread is the one that the kernel wakes for a request, and it
// answers it; by way of the poller another thread is woken, which may have to
// wake a third. On a machine whose cores are all taken, which is when a node must
// not fall silent, that is the difference between answering at the same rate and
// losing requests for tenths of a second. package mdlayher/packet has but the
// poller, and allocates for each answer besides. recvmmsg(2) and sendmmsg(2) were
// tried with 32 requests outstanding and gained nothing.
type packetSocket struct {
	kernel   *kernel
	protocol Protocol
	closed   atomic.Bool
	mu       sync.RWMutex // guards the descriptors: they are closed under the write lock
	fd       int
	bell     int // an eventfd(2) that ends every wait when the socket is closed
}

// open opens the socket. Until it is bound no frame reaches it, so that none
// slips past the filter.
func (s *packetSocket) open(index int, etherType uint16, program []bpf.RawInstruction) (err error) {
	if s.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := s.attach(program); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: index}))
}

// attach makes program the socket's filter, in place of the one before, if any.
func (s *packetSocket) attach(program []bpf.RawInstruction) error {
	instructions := make([]unix.SockFilter, len(program))
	for i, p := range program {
		instructions[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	attach := unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &attach))
}

// Admit implements Socket. How long a filter may be is up to the node's
// net.core.optmem_max: where the sieve does not fit, a coarser one does.
func (s *packetSocket) Admit(sieve *Sieve) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	for {
		program, err := filter(s.protocol, sieve)
		if err != nil {
			return err
		}
		if err := s.attach(program); sieve == nil || !errors.Is(err, unix.ENOMEM) {
			return err
		}
		sieve = sieve.coarser()
	}
}

// Close implements Socket.
func (s *packetSocket) Close() error {
	s.closed.Store(true)
	_, err := unix.Write(s.bell, binary.NativeEndian.AppendUint64(nil, 1))
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(os.NewSyscallError("write", err), s.release())
}

// release closes what has been opened.
func (s *packetSocket) release() error {
	var errs []error
	for _, fd := range []*int{&s.fd, &s.bell} {
		if *fd >= 0 {
			errs = append(errs, os.NewSyscallError("close", unix.Close(*fd)))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// Send implements Socket.
func (s *packetSocket) Send(frame []byte) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for !s.closed.Load() {
		switch _, err := unix.Write(s.fd, frame); {
		case err == nil, errors.Is(err, unix.ENOBUFS):
			return nil // the queue of the interface is full: so many are not missed
		case errors.Is(err, unix.EAGAIN):
			if err := s.wait(unix.POLLOUT); err != nil {
				return err
			}
		case !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("write", err)
		}
	}
	return net.ErrClosed
}

// wait sleeps until the socket is ready for events, has failed, or is closed.
func (s *packetSocket) wait(events int16) error {
	waits := [...]unix.PollFd{{Fd: int32(s.fd), Events: events}, {Fd: int32(s.bell), Events: unix.POLLIN}}
	if _, err := unix.Poll(waits[:], -1); err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("poll", err)
	}
	return nil
}

// networkOrder returns the number whose bytes in memory are those of v in network
// order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
