// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// maxFrame is the size of the receive buffer. Requests are much shorter; a frame
// that fills it has been cut and is not looked at.
const maxFrame = 512

// kernel is the Network of the kernel: AF_PACKET sockets, for which CAP_NET_RAW
// is enough.
type kernel struct {
	// spinning is true while one of the sockets spins: two of them might take
	// both cores of a small node.
	spinning atomic.Bool
}

// Open implements Network.
func (k *kernel) Open(p Protocol, i Interface) (Socket, error) {
	program, err := filter(p)
	if err != nil {
		return nil, err
	}
	etherType := etherTypeARP
	if p == NDP {
		etherType = etherTypeIPv6
	}
	// The filter is there before the socket is bound: nothing slips past it.
	conn, err := packet.Listen(&net.Interface{Index: i.Index, Name: i.Name}, packet.Raw, etherType, &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("open %s socket on %s: %w", p, i.Name, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("access %s socket on %s: %w", p, i.Name, err), conn.Close())
	}
	return &packetSocket{conn: conn, raw: raw, kernel: k}, nil
}

// Memberships implements Network.
func (k *kernel) Memberships(i Interface) Memberships { return newMemberships(i) }

// packetSocket is an AF_PACKET socket.
//
// It reads and writes by read(2) and write(2) on the descriptor, inside of
// syscall.RawConn: package packet's own ReadFrom and WriteTo make 20 allocations
// for each answer. A thread of its own that blocks in poll(2) was measured too,
// and recvmmsg(2) with sendmmsg(2): the first is no faster than the runtime's
// poller once the reader spins (see spin.go), the second gains nothing, because
// sending to a socket on the same machine costs ten times the system call.
type packetSocket struct {
	conn   *packet.Conn
	raw    syscall.RawConn
	kernel *kernel
	closed atomic.Bool
}

// Close implements Socket.
func (s *packetSocket) Close() error {
	s.closed.Store(true)
	return s.conn.Close()
}

// Send implements Socket.
func (s *packetSocket) Send(frame []byte) error {
	var result error
	err := s.raw.Write(func(fd uintptr) bool {
		_, result = unix.Write(int(fd), frame)
		return !errors.Is(result, unix.EAGAIN)
	})
	if errors.Is(result, unix.ENOBUFS) {
		return nil // the queue of the interface is full; so many frames are not missed
	}
	return errors.Join(err, os.NewSyscallError("write", result))
}

// Serve implements Socket.
func (s *packetSocket) Serve(a Answerer) error {
	r := newReader(s, a, runtime.GOMAXPROCS(0))
	// RawConn.Read calls drain when there may be something to read, and again
	// after the socket became readable whenever drain has returned false.
	if err := s.raw.Read(r.drain); err != nil {
		return err
	}
	return r.err
}

// reader is one Serve.
type reader struct {
	socket   *packetSocket
	answerer Answerer
	spin     spin
	begun    time.Time
	buffer   [maxFrame]byte
	err      error
}

// newReader returns a reader for a process that may use the given number of
// cores.
func newReader(s *packetSocket, a Answerer, cores int) *reader {
	return &reader{socket: s, answerer: a, spin: newSpin(cores), begun: time.Now()}
}

// drain answers until nothing is left to read, or the socket fails, which makes
// it return true.
func (r *reader) drain(descriptor uintptr) bool {
	fd := int(descriptor)
	for !r.socket.closed.Load() {
		n, err := unix.Read(fd, r.buffer[:])
		switch {
		case err == nil:
			r.answer(fd, n)
		case errors.Is(err, unix.EAGAIN):
			if !r.await(fd) {
				return false
			}
		case !errors.Is(err, unix.EINTR):
			r.err = os.NewSyscallError("read", err)
			return true
		}
	}
	r.err = net.ErrClosed
	return true
}

// answer answers the frame of n bytes in the buffer.
func (r *reader) answer(fd, n int) {
	if n == len(r.buffer) {
		return
	}
	reply := r.answerer.Answer(r.buffer[:n])
	if reply == nil {
		return
	}
	// An answer that cannot be sent now is no use later: whoever asked asks again.
	if _, err := unix.Write(fd, reply); err == nil {
		r.answerer.Answered()
	}
	r.spin.answered(r.now())
}

// await spins for as long as that is worth it. It is false if it was in vain.
func (r *reader) await(fd int) bool {
	begin := r.now()
	patience := r.spin.patience(begin)
	if patience == 0 || !r.socket.kernel.spinning.CompareAndSwap(false, true) {
		return false
	}
	defer r.socket.kernel.spinning.Store(false)
	for at, on := begin, true; on && at-begin < patience && !r.socket.closed.Load(); {
		n, err := unix.Read(fd, r.buffer[:])
		if err == nil {
			r.spin.spent(r.now() - begin)
			r.answer(fd, n)
			return true
		}
		if !errors.Is(err, unix.EAGAIN) {
			return true // drain meets the error again
		}
		runtime.Gosched() // others go first
		before := at
		at = r.now()
		on = r.spin.looked(before, at)
	}
	r.spin.spent(r.now() - begin)
	return false
}

// now is the time since Serve began, by the monotonic clock.
func (r *reader) now() time.Duration { return time.Since(r.begun) }
