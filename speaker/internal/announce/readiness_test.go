// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/speaker/internal/bgp"
)

func TestReadiness(t *testing.T) {
	up, pending, down := bgp.Session{State: bgp.Established}, bgp.Session{State: bgp.Established, Pending: 3}, bgp.Session{State: bgp.Active}
	synctest.Test(t, func(t *testing.T) {
		var announcing error
		source := &fakeSessions{sessions: map[bgp.PeerName]bgp.Session{}}
		var r *Readiness
		begin := func(sessions ...bgp.Session) {
			r = &Readiness{announcing: func() error { return announcing }, source: source}
			clear(source.sessions)
			for i, s := range sessions {
				source.sessions[bgp.PeerName(rune('a'+i))] = s
			}
		}
		want := func(what string, ready bool) {
			t.Helper()
			if err := r.Probe(); (err == nil) != ready {
				t.Errorf("%s: %v, want ready = %v", what, err, ready)
			}
		}
		begin()
		announcing = errors.New("waiting for objects")
		want("objects are not known", false)
		announcing = nil
		want("there are no routers", true)

		begin(up, down)
		want("a router is down", false)
		source.sessions["b"] = pending
		want("routes are on their way", false)
		source.sessions["b"] = up
		want("all routers have all routes", true)
		source.sessions["a"] = down
		want("a router goes down later", true)

		begin(up, down)
		want("a router is down", false)
		time.Sleep(routersWait)
		want("a router stays down", true)
	})
}
