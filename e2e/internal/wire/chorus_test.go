// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is a frame in which a station says that it has an address.
func said(addr netip.Addr, station byte) []byte {
	if addr.Is6() {
		frame := advertisement(addr, 0x60)
		frame[len(frame)-1] = station
		return frame
	}
	frame := arpRequest(addr)
	frame[ethernetLen+7] = 2 // a reply
	frame[ethernetLen+13] = station
	copy(frame[ethernetLen+14:], addr.AsSlice())
	return frame
}

func TestChorusKnowsForHowLongTwoSpeak(t *testing.T) {
	v4, v6, quiet := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.9")
	one, two := "02:ba:d0:ba:d0:11", "02:ba:d0:ba:d0:22"
	begin := time.Unix(1000, 0)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	var c Chorus
	for _, addr := range []netip.Addr{v4, v6} {
		c.Hear(at(-20), said(addr, 0x22))
		c.Hear(at(0), said(addr, 0x11))
		c.Hear(at(10), said(addr, 0x22))
		c.Hear(at(20), said(addr, 0x11))
		c.Hear(at(30), question(addr))
		c.Hear(at(40), said(addr, 0x11))

		want := []Answer{{at(0), one}, {at(10), two}, {at(20), one}, {at(40), one}}
		if diff := cmp.Diff(want, c.Since(addr, begin)); diff != "" {
			t.Errorf("%s: answers (-want +got):\n%s", addr, diff)
		}
		if diff := cmp.Diff([]string{one, two}, c.Voices(addr, begin)); diff != "" {
			t.Errorf("%s: voices (-want +got):\n%s", addr, diff)
		}
		if d, by := c.Discord(addr, begin); d != 10*time.Millisecond || by != two {
			t.Errorf("%s: discord for %s by %s, want 10ms by %s", addr, d, by, two)
		}
		if d, _ := c.Discord(addr, at(11)); d != 0 {
			t.Errorf("%s: discord for %s after its end", addr, d)
		}
	}
	d, _ := c.Discord(quiet, begin)
	if voices := c.Voices(quiet, begin); d != 0 || len(voices) > 0 {
		t.Errorf("discord for %s and voices %v where nobody speaks", d, voices)
	}
}

func TestChorusListensUntilItIsOver(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	frames := [][]byte{said(addr, 1), said(addr, 2)}
	var c Chorus
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Listen(ctx, func(context.Context) (time.Time, []byte, error) {
		if len(frames) == 0 {
			cancel()
			return time.Time{}, nil, ctx.Err()
		}
		frame := frames[0]
		frames = slices.Delete(frames, 0, 1)
		return time.Now(), frame, nil
	})
	if err != nil || len(c.Voices(addr, time.Time{})) != 2 {
		t.Errorf("heard %v, error %v", c.Voices(addr, time.Time{}), err)
	}
	broken := errors.New("broken")
	if err := c.Listen(t.Context(), func(context.Context) (time.Time, []byte, error) { return time.Time{}, nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the capture", err)
	}
}
