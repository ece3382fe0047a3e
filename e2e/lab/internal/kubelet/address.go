// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"net/netip"
	"sync"
)

// addressPool gives each pod of a node one address of each family. All addresses
// of a pod have the same number, and a number that came back is used again as
// late as possible: connections to the pod that had it may still be tracked.
type addressPool struct {
	cidrs []netip.Prefix

	mu   sync.Mutex // guards next and used
	next int
	used map[int]bool
}

// A /24 has 254 hosts; the first is the gateway.
const (
	firstPod = 2
	lastPod  = 254
)

func newAddressPool(cidrs []netip.Prefix) addressPool {
	return addressPool{cidrs: cidrs, next: firstPod, used: map[int]bool{}}
}

// take returns a pod's addresses and the number to give back.
func (p *addressPool) take() (addresses []netip.Addr, number int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPod - firstPod + 1 {
		number = p.next
		if p.next++; p.next > lastPod {
			p.next = firstPod
		}
		if !p.used[number] {
			p.used[number] = true
			return p.nth(number), number, nil
		}
	}
	return nil, 0, errors.New("choose address of pod: the node has none left")
}

func (p *addressPool) giveBack(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, number)
}

// gateways are the node's ends of all pods' links.
func (p *addressPool) gateways() []netip.Addr { return p.nth(1) }

func (p *addressPool) nth(number int) []netip.Addr {
	addresses := make([]netip.Addr, len(p.cidrs))
	for i, cidr := range p.cidrs {
		b := cidr.Masked().Addr().AsSlice()
		b[len(b)-1] = byte(number)
		addresses[i], _ = netip.AddrFromSlice(b)
	}
	return addresses
}
