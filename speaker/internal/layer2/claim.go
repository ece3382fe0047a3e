// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"net/netip"
	"sync"
	"time"
)

// Claim is that another station acts on the LAN as if it had an address that this
// node announces: it announces the address, answers for it, or asks from it (RFC
// 5227, section 2.4; RFC 4861, section 7.2.5). That may be a squatter, or a speaker
// that has not yet heard that the address is announced here: this package does not
// know which.
type Claim struct {
	Address   netip.Addr
	Interface string // where it was heard
	MAC       [6]byte
}

// claimPause is how often the same claim is told: a station that claims an address
// may well send a hundred thousand packets a second from it.
const claimPause = time.Second

// claimsKept bounds the memory of claims told. Whoever floods the LAN with forged ones
// is heard once for many of them.
const claimsKept = 1024

// claims keeps claims from being told too often. It is safe for concurrent use.
type claims struct {
	mu   sync.Mutex
	told map[Claim]time.Time
}

// fresh says whether a claim is to be told now.
func (c *claims) fresh(claim Claim, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.told[claim]; ok && now.Sub(at) < claimPause {
		return false
	}
	if len(c.told) >= claimsKept {
		for old, at := range c.told {
			if now.Sub(at) >= claimPause {
				delete(c.told, old)
			}
		}
		if len(c.told) >= claimsKept {
			return false
		}
	}
	if c.told == nil {
		c.told = make(map[Claim]time.Time)
	}
	c.told[claim] = now
	return true
}
