// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wire is a packet as a capture shows it: by hand from the figure in RFC 5880,
// section 4.1.
const wire = "20c8031800000007000000090000c350000493e00000c350"

var onWire = Packet{
	State: Up, ControlPlaneIndependent: true, DetectMultiplier: 3,
	MyDiscriminator: 7, YourDiscriminator: 9,
	DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 300 * time.Millisecond, RequiredMinEchoRx: 50 * time.Millisecond,
}

func TestPacketOnTheWire(t *testing.T) {
	got, err := parse(unhex(t, wire))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(onWire, got); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
	if got := hex.EncodeToString(onWire.append(nil)); got != wire {
		t.Errorf("append: got %s, want %s", got, wire)
	}
}

func TestFlags(t *testing.T) {
	for bit, want := range map[byte]Packet{
		0x20: {Poll: true}, 0x10: {Final: true}, 0x08: {ControlPlaneIndependent: true}, 0x02: {Demand: true},
	} {
		want.State, want.DetectMultiplier, want.MyDiscriminator, want.Diagnostic = Down, 1, 1, ReverseConcatenatedPathDown
		b := want.append(nil)
		if b[1] != 1<<6|bit || b[0] != 0x28 {
			t.Errorf("%+v: bytes %x", want, b[:2])
		}
		got, err := parse(b)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// The checks of RFC 5880, section 6.8.6, in its order.
func TestPacketsRefused(t *testing.T) {
	tests := map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"empty":                        {func([]byte) []byte { return nil }, "0 bytes"},
		"short":                        {func(b []byte) []byte { return b[:23] }, "23 bytes"},
		"version 0":                    {set(0, 0x00), "version 0"},
		"version 2":                    {set(0, 0x40), "version 2"},
		"length too small":             {set(3, 23), "says that it has 23"},
		"length beyond the payload":    {set(3, 25), "says that it has 25"},
		"multiplier zero":              {set(2, 0), "multiplier of zero"},
		"multipoint":                   {set(1, 0xc1), "multipoint"},
		"no discriminator":             {set(7, 0), "no discriminator of its sender"},
		"state Up without ours":        {set(11, 0), "state Up has no discriminator of ours"},
		"authenticated":                {set(1, 0xc4), "turn authentication off"},
		"authenticated, with section":  {func(b []byte) []byte { b[1] |= 4; b[3] = 26; return append(b, 1, 2) }, "turn authentication off"},
		"state Init without ours":      {func(b []byte) []byte { b[1] = 0x80; b[11] = 0; return b }, "state Init has no"},
		"authenticated and multipoint": {set(1, 0xc5), "multipoint"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.change(unhex(t, wire)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := parse(set(1, 0xc4)(unhex(t, wire))); !errors.Is(err, errAuthenticated) {
		t.Errorf("error %v, want errAuthenticated", err)
	}
}

func TestPacketsAcceptedAtTheEdge(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"bytes behind the packet":   func(b []byte) []byte { return append(b, 1, 2, 3) },
		"state Down without ours":   func(b []byte) []byte { b[1], b[11] = 0x40, 0; return b },
		"AdminDown without ours":    func(b []byte) []byte { b[1], b[11] = 0x00, 0; return b },
		"reserved diagnostic":       set(0, 0x3f),
		"poll and final at once":    set(1, 0xf0),
		"intervals of 32 bits":      func(b []byte) []byte { return append(b[:12], []byte(strings.Repeat("\xff", 12))...) },
		"intervals of zero":         func(b []byte) []byte { return append(b[:12], make([]byte, 12)...) },
		"length says 25, so it has": func(b []byte) []byte { b[3] = 25; return append(b, 0) },
	} {
		if _, err := parse(change(unhex(t, wire))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What parse accepts, append writes again, but for bytes behind the packet.
func FuzzPacket(f *testing.F) {
	f.Add(unhex(f, wire))
	f.Add(set(1, 0xc4)(unhex(f, wire)))
	f.Add(make([]byte, packetLength))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		want := append([]byte(nil), b[:packetLength]...)
		want[3] = packetLength
		if got := p.append(nil); !cmp.Equal(got, want) {
			t.Errorf("%x was read and is written as %x", want, got)
		}
	})
}

func set(at int, value byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = value; return b }
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
