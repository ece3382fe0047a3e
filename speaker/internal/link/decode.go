// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// attributeFlags are the bits of an attribute's type that are not part of it.
const attributeFlags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER

// linkMessage is an RTM_NEWLINK or RTM_DELLINK: the parts that are of use.
type linkMessage struct {
	index    int
	name     string
	ethernet bool
	mac      [6]byte
	mtu      int
	flags    uint32
	master   bool
}

// addressMessage is an RTM_NEWADDR or RTM_DELADDR: the parts that are of use.
type addressMessage struct {
	index  int
	prefix netip.Prefix
	flags  uint32
}

// decodeLink reads the payload of a link message. It is false for messages that
// do not describe a whole link:
//   - those of family AF_BRIDGE, which say that a port joined or left a bridge;
//     their RTM_DELLINK does not mean that the link is gone;
//   - those without an MTU, which are events of wireless drivers.
func decodeLink(b []byte) (linkMessage, bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return linkMessage{}, false
	}
	m := linkMessage{
		ethernet: binary.NativeEndian.Uint16(b[2:]) == unix.ARPHRD_ETHER,
		index:    int(int32(binary.NativeEndian.Uint32(b[4:]))),
		flags:    binary.NativeEndian.Uint32(b[8:]),
	}
	ok := eachAttribute(b[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			m.name = text(value)
		case unix.IFLA_ADDRESS:
			if len(value) == len(m.mac) {
				m.mac = [6]byte(value)
			}
		case unix.IFLA_MTU:
			m.mtu = number(value)
		case unix.IFLA_MASTER:
			m.master = number(value) != 0
		}
	})
	return m, ok && m.name != "" && m.mtu != 0
}

// decodeAddress reads the payload of an address message. It is false for
// messages without an IPv4 or IPv6 address.
func decodeAddress(b []byte) (addressMessage, bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return addressMessage{}, false
	}
	m := addressMessage{flags: uint32(b[2]), index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	var local, address netip.Addr
	ok := eachAttribute(b[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS: // the 32 bits of which the header has the first 8
			m.flags = uint32(number(value))
		}
	})
	if !local.IsValid() {
		local = address // on point-to-point links IFA_ADDRESS is the other end
	}
	m.prefix = netip.PrefixFrom(local, int(b[1]))
	return m, ok && m.prefix.IsValid()
}

// eachAttribute calls visit for every route attribute in b, in order, and says
// whether b was well-formed.
func eachAttribute(b []byte, visit func(kind uint16, value []byte)) bool {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return false
		}
		visit(binary.NativeEndian.Uint16(b[2:])&^attributeFlags, b[unix.SizeofRtAttr:length])
		aligned := (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
		b = b[min(aligned, len(b)):]
	}
	return true
}

// text is a string attribute without the NUL at its end.
func text(value []byte) string {
	for i, c := range value {
		if c == 0 {
			return string(value[:i])
		}
	}
	return string(value)
}

// number is a 32-bit attribute; 0 if it has another size.
func number(value []byte) int {
	if len(value) != 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(value))
}
