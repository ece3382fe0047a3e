// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// Profile is a set of timings: how fast a dead member is noticed, against how long a
// live one may be silent. It is a flag.Value. The zero value is Fast.
//
// The time until every member knows of a death, measured with N members, and the
// shortest pause of a process (not of its network) that others took for death:
//
//	        3 members  10 members  100 members  pause
//	Fast    0.8 s      1.2 s       1.7 to 4.4 s  0.8 s
//	Safe    2.1 s      2.9 s       5.3 s         2 s
//	WAN     more than 10 s                       more than 5 s
type Profile uint8

// The profiles.
const (
	// Fast suits a LAN of machines that are not starved of CPU.
	Fast Profile = iota
	// Safe suits a LAN of machines that are.
	Safe
	// WAN suits clusters stretched over slow links.
	WAN
)

// String returns the name of the profile in flags.
func (p *Profile) String() string {
	switch *p {
	case Fast:
		return "fast"
	case Safe:
		return "safe"
	case WAN:
		return "wan"
	}
	return fmt.Sprintf("profile %d", uint8(*p))
}

// Set reads the name of the profile.
func (p *Profile) Set(name string) error {
	for _, known := range []Profile{Fast, Safe, WAN} {
		if known.String() == name {
			*p = known
			return nil
		}
	}
	return fmt.Errorf("want fast, safe or wan")
}

// timings are what differs between profiles.
type timings struct {
	probeInterval, probeTimeout           time.Duration
	suspicionMult, suspicionMaxMult       int
	gossipInterval                        time.Duration
	gossipNodes                           int
	streamTimeout                         time.Duration
	settleQuiet, settleMax, rejoinMaximum time.Duration
}

func (p Profile) timings() timings {
	switch p {
	case Safe:
		return timings{
			probeInterval: 500 * time.Millisecond, probeTimeout: 200 * time.Millisecond,
			suspicionMult: 3, suspicionMaxMult: 2,
			gossipInterval: 100 * time.Millisecond, gossipNodes: 3,
			streamTimeout: 2 * time.Second,
			settleQuiet:   time.Second, settleMax: 10 * time.Second, rejoinMaximum: 20 * time.Second,
		}
	case WAN:
		return timings{
			probeInterval: 5 * time.Second, probeTimeout: 3 * time.Second,
			suspicionMult: 6, suspicionMaxMult: 6,
			gossipInterval: 500 * time.Millisecond, gossipNodes: 4,
			streamTimeout: 10 * time.Second,
			settleQuiet:   5 * time.Second, settleMax: 30 * time.Second, rejoinMaximum: 60 * time.Second,
		}
	case Fast:
	}
	return timings{
		probeInterval: 200 * time.Millisecond, probeTimeout: 100 * time.Millisecond,
		suspicionMult: 3, suspicionMaxMult: 2,
		gossipInterval: 50 * time.Millisecond, gossipNodes: 4,
		streamTimeout: time.Second,
		settleQuiet:   500 * time.Millisecond, settleMax: 5 * time.Second, rejoinMaximum: 10 * time.Second,
	}
}

// configure returns memberlist's configuration for the timings.
func (t timings) configure() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval, c.ProbeTimeout = t.probeInterval, t.probeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = t.suspicionMult, t.suspicionMaxMult
	c.GossipInterval, c.GossipNodes = t.gossipInterval, t.gossipNodes
	c.TCPTimeout = t.streamTimeout
	// Packets are small and short-lived: compressing them costs more than it saves.
	c.EnableCompression = false
	// A node that comes back with another address gets its name back.
	c.DeadNodeReclaimTime = t.settleMax
	return c
}
