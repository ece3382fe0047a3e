// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func announcements(addresses ...netip.Addr) []layer2.Announcement {
	all := make([]layer2.Announcement, len(addresses))
	for i, a := range addresses {
		all[i].Address = a
	}
	return all
}

// A question is answered by whoever has one of the addresses, and by nobody else; where
// there is no link to ask on, that is said.
func TestAsk(t *testing.T) {
	a, _, client := wired(t)
	taken4, taken6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	for _, taken := range []netip.Addr{taken4, taken6} {
		linktest.Await(t, func() bool { // addresses may be tentative
			o, others := a.Ask(t.Context(), announcements(lb4, lb6, taken), false)
			return o == layer2.Answered && others
		}, func() { t.Error("nobody answers for", taken) })
	}
	begin := time.Now()
	if o, _ := a.Ask(t.Context(), announcements(lb4, lb6), false); o != layer2.Silence {
		t.Errorf("outcome %d for addresses that nobody has", o)
	}
	if took := time.Since(begin); took < 40*time.Millisecond {
		t.Errorf("it gave up after %s", took)
	}
	// What is announced here answers others, not us.
	if err := a.Announce(layer2.Announcement{Address: lb4}); err != nil {
		t.Fatal(err)
	}
	if o, _ := a.Ask(t.Context(), announcements(lb4), false); o != layer2.Silence {
		t.Errorf("outcome %d for an address of our own", o)
	}
	if o, _ := a.Ask(t.Context(), []layer2.Announcement{{Address: taken4, Interfaces: []string{"elsewhere"}}}, false); o != layer2.Unable {
		t.Errorf("outcome %d on an interface that is not there", o)
	}
	client.Down(t, "eth0") // takes the carrier of the other end
	linktest.Await(t, func() bool {
		o, others := a.Ask(t.Context(), announcements(taken4), false)
		return o == layer2.Unable && !others
	}, func() { t.Error("a question without a carrier is not refused") })
}

// Who lingers waits until anybody at all is heard.
func TestLinger(t *testing.T) {
	a, _, client := wired(t)
	conn := tap(t, client, "eth0")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		timer := time.NewTimer(150 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-stop:
		case <-timer.C:
			_, _ = conn.WriteTo(request(t, clientMAC, "192.0.2.9", lb4), &packet.Addr{HardwareAddr: make(net.HardwareAddr, 6)})
		}
	}()
	begin := time.Now()
	o, others := a.Ask(t.Context(), announcements(lb4), true)
	if took := time.Since(begin); o != layer2.Silence || !others || took < 100*time.Millisecond {
		t.Errorf("outcome %d, others %t after %s, want silence with others after 150 ms", o, others, took)
	}
}

// A lease that lapses silences answers, and nothing else.
func TestLease(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w world) {
		w.announce(t, lb4, lb6)
		w.askBoth(t)
		w.Extend(time.Now().Add(-time.Second))
		other := netip.MustParseAddr("192.0.2.101")
		w.announce(t, other) // announcements go on
		w.drain()
		w.send(request(t, clientMAC, "192.0.2.9", lb4))
		timer := time.NewTimer(200 * time.Millisecond)
		defer timer.Stop()
		for silent := true; silent; {
			select {
			case f := <-w.frames:
				if c, ok := readClaim(f); ok && c.answer && c.address == lb4 {
					t.Fatal("it answers although its lease has lapsed")
				}
			case <-timer.C:
				silent = false
			}
		}
		w.Extend(time.Now().Add(time.Minute))
		w.askBoth(t)
		w.Extend(time.Time{})
		w.askBoth(t)
		w.drain()
		w.Renew()
		w.heard(t, lb4, lb6, other)
	})
}
