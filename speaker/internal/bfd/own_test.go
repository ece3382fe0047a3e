// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// A pair that may speak often while it is down is up again soon after a cut.
func TestSlowInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, fast)
		for _, x := range []struct {
			n    *node
			path Path
		}{{p.a, toB}, {p.b, toA}} {
			c := every(fast)
			c.SlowInterval = 4 * fast
			x.n.set(t, x.path, c)
		}
		cut := func(is bool) {
			for _, h := range p.hosts {
				h.set(func(h *lanHost) { h.cut = is })
			}
		}
		if heard := p.a.Heard(toB); time.Since(heard) > fast {
			t.Errorf("heard %s ago, want within %s", time.Since(heard), fast)
		}
		cut(true)
		p.a.await(t, toB, Down)
		time.Sleep(time.Minute)
		if heard := p.a.Heard(toB); !heard.IsZero() {
			t.Errorf("heard at %s, want that the peer is given up", heard)
		}
		cut(false)
		begin := time.Now()
		p.a.await(t, toB, Up)
		if took := time.Since(begin); took > 5*fast {
			t.Errorf("up again after %s, want %s at most", took, 5*fast)
		}
	})
}

// Sessions with a port of their own do without that of RFC 5881.
func TestOwnPort(t *testing.T) {
	linktest.Host(t).Up(t, "lo")
	k := kernel{port: 47947}
	at, err := k.listen(context.Background(), entrance{IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	out, err := k.open(Path{Peer: netip.MustParseAddr("127.0.0.1"), Multihop: true}, 50000)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.send([]byte("packet")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64)
	if a, err := at.receive(buffer); err != nil || string(buffer[:a.length]) != "packet" {
		t.Errorf("received %q, %v", buffer[:a.length], err)
	}
}
