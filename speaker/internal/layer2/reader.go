// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxFrame is the size of the receive buffer. Requests are much shorter; a frame
// that fills it has been cut and is not looked at.
const maxFrame = 512

// Serve implements Socket.
func (s *packetSocket) Serve(a Answerer) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return newReader(s, a, runtime.GOMAXPROCS(0)).serve()
}

// reader is the loop of one Serve.
type reader struct {
	socket   *packetSocket
	answerer Answerer
	spin     spin
	begun    time.Time
	buffer   [maxFrame]byte
}

// newReader returns a reader for a process that may use the given number of
// cores.
func newReader(s *packetSocket, a Answerer, cores int) *reader {
	return &reader{socket: s, answerer: a, spin: newSpin(cores), begun: time.Now()}
}

// serve answers until the socket fails or is closed.
func (r *reader) serve() error {
	for {
		if err := r.drain(); err != nil {
			return err
		}
		if r.await() {
			continue
		}
		if err := r.socket.wait(unix.POLLIN); err != nil {
			return err
		}
	}
}

// drain answers until there is nothing left to read.
func (r *reader) drain() error {
	for !r.socket.closed.Load() {
		n, err := unix.Read(r.socket.fd, r.buffer[:])
		switch {
		case err == nil:
			r.answer(n)
		case errors.Is(err, unix.EAGAIN):
			return nil
		case !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("read", err)
		}
	}
	return net.ErrClosed
}

// answer answers the frame of n bytes in the buffer.
func (r *reader) answer(n int) {
	if n == len(r.buffer) {
		return
	}
	reply := r.answerer.Answer(r.buffer[:n])
	if reply == nil {
		return
	}
	// An answer that cannot be sent now is no use later: whoever asked asks again.
	if _, err := unix.Write(r.socket.fd, reply); err == nil {
		r.answerer.Answered()
	}
	r.spin.answered(r.now())
}

// await spins for as long as that is worth it, and says whether something came.
func (r *reader) await() bool {
	begin := r.now()
	patience := r.spin.patience(begin)
	if patience == 0 || !r.socket.kernel.spinning.CompareAndSwap(false, true) {
		return false
	}
	defer r.socket.kernel.spinning.Store(false)
	for at, on := begin, true; on && at-begin < patience && !r.socket.closed.Load(); {
		n, err := unix.Read(r.socket.fd, r.buffer[:])
		if err == nil {
			r.spin.spent(r.now() - begin)
			r.answer(n)
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
