// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// sendBuffer is enough for a transaction that makes a hundred thousand entries:
	// the kernel takes a transaction whole or not at all.
	sendBuffer = 8 << 20
	// tries bounds how often a request is begun again.
	tries = 3
)

// socket is a netlink socket that stays open: when one is closed, the kernel waits
// for what its transactions have removed, some 40 ms. After an error another one
// takes its place. The zero value is ready for use.
type socket struct {
	conn *nftables.Conn // nil when closed
}

// try calls request until it succeeds, but not often. It may fail because the
// table is not what it was read to be: an entry has expired, or somebody flushed
// the ruleset. What an aborted transaction leaves unread must not be taken for
// the answer to the next, so that each error ends the socket.
func (s *socket) try(request func(*nftables.Conn) error) error {
	var err error
	for range tries {
		if err = s.once(request); err == nil || errors.Is(err, unix.EPERM) {
			break
		}
	}
	return err
}

func (s *socket) once(request func(*nftables.Conn) error) (err error) {
	if s.conn == nil {
		if s.conn, err = dial(); err != nil {
			return err
		}
	}
	if err = request(s.conn); err != nil {
		_ = s.close()
	}
	return err
}

func (s *socket) close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.CloseLasting()
	s.conn = nil
	return err
}

// dial opens a socket in the network namespace of the calling thread.
func dial() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		// An error would otherwise come with all that was sent.
		if err := c.SetOption(netlink.CapAcknowledge, true); err != nil {
			return err
		}
		return c.SetWriteBuffer(sendBuffer)
	}))
	if err != nil {
		return nil, err // not c, which is no connection then
	}
	return c, nil
}
