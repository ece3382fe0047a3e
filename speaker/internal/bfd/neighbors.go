// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// neighbors remembers hardware addresses for a moment: the kernel's table is read
// as text, which is too slow for each packet. It is not safe for concurrent use.
type neighbors struct {
	read time.Time
	macs map[neighborKey][6]byte
}

type neighborKey struct {
	index   int
	address netip.Addr
}

// arpTable is the kernel's, in the network namespace of the thread: that of the
// process is the one of its first thread, which may have moved.
const arpTable = "/proc/thread-self/net/arp"

// neighborsAge is how old a remembered address may be.
const neighborsAge = time.Second

func (n *neighbors) lookup(index int, a netip.Addr) (mac [6]byte, known bool, err error) {
	if now := time.Now(); now.Sub(n.read) > neighborsAge {
		text, err := os.ReadFile(arpTable)
		if err != nil {
			return mac, false, fmt.Errorf("read ARP table: %w", err)
		}
		n.macs, n.read = parseNeighbors(text, interfaceIndices()), now
	}
	mac, known = n.macs[neighborKey{index, a}]
	return mac, known, nil
}

func interfaceIndices() map[string]int {
	indices := make(map[string]int)
	interfaces, err := net.Interfaces()
	if err != nil {
		return indices // then no neighbor is known for a second
	}
	for _, i := range interfaces {
		indices[i.Name] = i.Index
	}
	return indices
}

// parseNeighbors reads the kernel's ARP table: address, hardware type, flags,
// hardware address, mask, device; below a heading.
func parseNeighbors(text []byte, indices map[string]int) map[neighborKey][6]byte {
	macs := make(map[neighborKey][6]byte)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 6 {
			continue
		}
		address, err := netip.ParseAddr(f[0])
		mac, macErr := net.ParseMAC(f[3])
		index := indices[f[5]]
		if err != nil || macErr != nil || len(mac) != 6 || index == 0 || f[2] == "0x0" {
			continue
		}
		macs[neighborKey{index, address}] = [6]byte(mac)
	}
	return macs
}
