// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"log/slog"
	"time"
)

// drain takes this node out of BGP as RFC 8326 has it: first peers are asked to prefer
// other nodes, and after a time in which they can do so the routes are withdrawn. It
// belongs to the loop.
type drain struct {
	router Router
	wait   time.Duration
	// again has the loop look once more. It is called on a goroutine of its own.
	again func()
	log   *slog.Logger

	on    bool
	until time.Time
	timer *time.Timer
}

// follow takes note of whether the node is draining, and returns whether its time is
// over. A speaker that finds its node so when it starts has advertised nothing that
// would have to be handed over.
func (d *drain) follow(draining, atStart bool) (over bool) {
	switch {
	case draining && !d.on:
		d.begin(atStart)
	case !draining && d.on:
		d.end()
	}
	return d.on && !time.Now().Before(d.until)
}

func (d *drain) begin(atStart bool) {
	d.on, d.until = true, time.Now()
	if atStart {
		d.log.Info("node is drained: nothing is advertised")
		return
	}
	d.log.Info("node is draining: routers are asked to prefer others", "wait", d.wait)
	d.router.Drain(true)
	d.until = d.until.Add(d.wait)
	d.timer = time.AfterFunc(d.wait, d.again)
}

func (d *drain) end() {
	d.log.Info("node is not drained any more")
	d.on = false
	if d.timer != nil {
		d.timer.Stop()
	}
	d.router.Drain(false)
}
