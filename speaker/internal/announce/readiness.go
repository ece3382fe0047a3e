// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"sync"
	"time"

	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// routersWait is how long routers are waited for. One that is down is no reason to hold a
// rollout up for good.
const routersWait = 15 * time.Second

// Readiness tells when this node does its part: when it announces all that it should, and
// its routers have all routes, or have had time enough. A rollout goes on to the next
// node then, and whoever goes too early leaves routers without a route. Once reached it
// stays: a router that goes away later is not healed by a restart.
type Readiness struct {
	announcing func() error
	source     SessionSource

	mu      sync.Mutex // guards what follows
	begun   time.Time  // when this node announced all that it should
	reached bool
}

// NewReadiness returns the readiness of a loop and the sessions that it uses.
func NewReadiness(loop *Loop, source SessionSource) *Readiness {
	return &Readiness{announcing: loop.Ready, source: source}
}

// Probe returns nil once this node is ready, and else what it waits for. It may be called
// by several goroutines at once.
func (r *Readiness) Probe() error {
	if err := r.announcing(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun.IsZero() {
		r.begun = time.Now()
	}
	if r.reached || time.Since(r.begun) >= routersWait {
		r.reached = true
		return nil
	}
	for name, session := range r.source.Snapshot() {
		if session.State != bgp.Established || session.Pending > 0 {
			return fmt.Errorf("waiting for BGPPeer %q: %s, %d routes pending", name, session.State, session.Pending)
		}
	}
	r.reached = true
	return nil
}
