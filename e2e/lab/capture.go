// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"
)

// Frame is an Ethernet frame as seen on an interface.
type Frame struct {
	// Time is when the kernel saw it.
	Time time.Time
	// Sent is true for a frame that the host itself sent.
	Sent bool
	// Bytes begin with the destination address.
	Bytes []byte
}

// EtherType returns the frame's type field; 0 if it is too short to have one.
func (f Frame) EtherType() uint16 {
	if len(f.Bytes) < 14 {
		return 0
	}
	return binary.BigEndian.Uint16(f.Bytes[12:14])
}

// Capture is an open tap on an interface. Frames that nobody reads wait in the
// kernel, up to 16 MB of them. Next is for one goroutine at a time.
type Capture struct {
	file   *os.File
	buffer []byte
	close  sync.Once
	err    error
}

// Capture starts seeing the frames that an interface receives and sends, from
// now on.
func (h *Host) Capture(name string) (*Capture, error) {
	var fd int
	err := h.Netns().Enter(func() (err error) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		fd, err = openTap(link.Attrs().Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", h.Name(), err)
	}
	return &Capture{file: os.NewFile(uintptr(fd), "capture"), buffer: make([]byte, 1<<16)}, nil
}

func openTap(index int) (int, error) {
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("open packet socket: %w", err)
	}
	const room = 16 << 20
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		// Bound last: from here on frames arrive.
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}),
	)
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("set up packet socket: %w", err)
	}
	return fd, nil
}

// Next returns the next frame. Its bytes are the caller's.
func (c *Capture) Next(ctx context.Context) (Frame, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) }) // fails only when closed
	defer stop()
	raw, err := c.file.SyscallConn()
	if err != nil {
		return Frame{}, fmt.Errorf("capture: %w", err)
	}
	var frame Frame
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		frame, failed = c.receive(int(fd))
		return !errors.Is(failed, unix.EAGAIN)
	})
	if ctx.Err() != nil {
		_ = c.file.SetReadDeadline(time.Time{}) // for the next call, which may have more time
		return Frame{}, fmt.Errorf("capture: %w", ctx.Err())
	}
	if err := errors.Join(err, failed); err != nil {
		return Frame{}, fmt.Errorf("capture: %w", err)
	}
	return frame, nil
}

func (c *Capture) receive(fd int) (Frame, error) {
	control := make([]byte, 128)
	n, m, _, from, err := unix.Recvmsg(fd, c.buffer, control, 0)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Time: time.Now(), Bytes: append([]byte(nil), c.buffer[:n]...)}
	if link, ok := from.(*unix.SockaddrLinklayer); ok {
		f.Sent = link.Pkttype == unix.PACKET_OUTGOING
	}
	if seen, ok := timestamp(control[:m]); ok {
		f.Time = seen
	}
	return f, nil
}

func timestamp(control []byte) (time.Time, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), true
		}
	}
	return time.Time{}, false
}

// Close ends the capture; a Next that waits returns an error.
func (c *Capture) Close() error {
	c.close.Do(func() { c.err = c.file.Close() })
	return c.err
}
