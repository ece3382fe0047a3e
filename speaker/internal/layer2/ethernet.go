// SPDX-License-Identifier: Apache-2.0

package layer2

import "encoding/binary"

// mac is a hardware address of Ethernet.
type mac = [6]byte

// Offsets and values of Ethernet II framing (RFC 894).
const (
	ethernetLen   = 14
	etherTypeAt   = 12
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

// broadcast is the address of all stations.
func broadcast() mac { return mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// isUnicast says whether m can be the address of one station.
func isUnicast(m mac) bool { return m[0]&1 == 0 && m != mac{} }

// isFor says whether a frame reaches the station self: it was sent to it, to a
// group or to all. The frame has at least an Ethernet header.
func isFor(frame []byte, self mac) bool {
	return frame[0]&1 != 0 || mac(frame) == self
}

// putEthernet writes an Ethernet header.
func putEthernet(frame []byte, destination, source mac, etherType uint16) {
	copy(frame, destination[:])
	copy(frame[6:], source[:])
	binary.BigEndian.PutUint16(frame[etherTypeAt:], etherType)
}
