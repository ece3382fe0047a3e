// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// memberships are those of the kernel, which reports them by MLD (RFC 3810) and
// has the interface receive the groups. A socket can hold a limited number of
// them, by net.core.optmem_max: about 2300 on new kernels, 365 on older ones.
// When one is full, another is opened.
type memberships struct {
	name   string
	index  uint32
	shards []*shard
	home   map[netip.Addr]*shard
}

// shard is one of the sockets. It is never bound, so it receives nothing: the
// frames come by the packet socket.
type shard struct {
	fd   int
	full bool
}

func newMemberships(i Interface) *memberships {
	return &memberships{name: i.Name, index: uint32(i.Index), home: make(map[netip.Addr]*shard)}
}

// Join implements Memberships.
func (m *memberships) Join(group netip.Addr) error {
	for {
		s, fresh, err := m.open()
		if err != nil {
			return err
		}
		err = m.set(s, unix.IPV6_JOIN_GROUP, group)
		if errors.Is(err, unix.ENOMEM) && !fresh {
			s.full = true
			continue
		}
		if err != nil {
			return fmt.Errorf("join %s on %s: %w", group, m.name, err)
		}
		m.home[group] = s
		return nil
	}
}

// Leave implements Memberships.
func (m *memberships) Leave(group netip.Addr) error {
	s := m.home[group]
	if s == nil {
		return nil
	}
	delete(m.home, group)
	s.full = false
	if err := m.set(s, unix.IPV6_LEAVE_GROUP, group); err != nil {
		return fmt.Errorf("leave %s on %s: %w", group, m.name, err)
	}
	return nil
}

// Close implements Memberships.
func (m *memberships) Close() error {
	var errs []error
	for _, s := range m.shards {
		errs = append(errs, os.NewSyscallError("close", unix.Close(s.fd)))
	}
	m.shards, m.home = nil, nil
	return errors.Join(errs...)
}

// open returns a socket that is not known to be full, and whether it is new.
func (m *memberships) open() (s *shard, fresh bool, err error) {
	for _, s := range m.shards {
		if !s.full {
			return s, false, nil
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, fmt.Errorf("open socket for groups on %s: %w", m.name, err)
	}
	s = &shard{fd: fd}
	m.shards = append(m.shards, s)
	return s, true, nil
}

// set changes one membership of a socket.
func (m *memberships) set(s *shard, option int, group netip.Addr) error {
	request := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: m.index}
	return os.NewSyscallError("setsockopt", unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, option, &request))
}
