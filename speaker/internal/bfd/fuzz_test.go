// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// FuzzMachine lets a peer that does what it likes, an administrator and the clock
// at a machine, and holds it to what RFC 5880 says of every packet.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 3, 9, 200, 0, 0, 12, 1, 0, 3})
	f.Add([]byte{0, 1, 0, 2, 0x10, 3, 8, 30, 0x20, 3, 8, 250, 13, 0, 8, 10, 13, 0, 0, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		random := rand.New(rand.NewPCG(1, 2))
		now := time.Unix(1000, 0)
		c, _ := every(50 * ms).complete()
		m := newMachine(c, true, 1, random, now)
		for ; len(script) >= 2; script = script[2:] {
			op, arg := script[0], script[1]
			var o output
			switch {
			case op&0x0f < 8: // a packet
				p := fuzzPacket(op, arg)
				o = m.receive(&p, now)
				if p.Poll && !o.packet.Final {
					t.Fatalf("the poll %+v is answered by %+v", p, o)
				}
			case op&0x0f < 12: // time
				now = now.Add(time.Duration(binary.BigEndian.Uint16([]byte{op & 0x0f, arg})) * ms)
				o = m.advance(now)
				if at := m.next(); !at.IsZero() && !at.After(now) {
					t.Fatalf("after advance at %s something is due at %s", now, at)
				}
			default: // the administrator
				c.AdminDown, c.Passive, c.Echo = arg&1 != 0, arg&2 != 0, arg&4 != 0
				c.TransmitInterval = time.Duration(1+arg) * ms
				c.ReceiveInterval = time.Duration(1+op) * ms
				o = m.configure(c, now)
				if (m.state == AdminDown) != c.AdminDown {
					t.Fatalf("held down %t, state %s", c.AdminDown, m.state)
				}
			}
			checkOutput(t, m, o)
		}
	})
}

// fuzzPacket is a packet that parse could accept.
func fuzzPacket(op, arg byte) Packet {
	return Packet{
		State: State(arg & 3), Poll: op&0x10 != 0, Final: op&0x20 != 0, Demand: op&0x40 != 0,
		DetectMultiplier: 1 + arg>>4, MyDiscriminator: 1 + uint32(op>>7), YourDiscriminator: 1,
		DesiredMinTx: time.Duration(arg) * ms, RequiredMinRx: time.Duration(op&7) * 20 * ms,
		RequiredMinEchoRx: time.Duration(arg>>2&3) * 10 * ms,
	}
}

func checkOutput(t *testing.T, m *machine, o output) {
	t.Helper()
	p := o.packet
	switch {
	case !o.send:
		return
	case p.Poll && p.Final:
		t.Fatalf("poll and final in %+v (section 6.5)", p)
	case p.State != m.state || p.MyDiscriminator != m.local || p.YourDiscriminator != m.remote:
		t.Fatalf("%+v is not what the machine is: %s, %d, %d", p, m.state, m.local, m.remote)
	case p.State != Up && p.DesiredMinTx < time.Second:
		t.Fatalf("%+v is too fast (section 6.8.3)", p)
	case m.config.Passive && p.YourDiscriminator == 0:
		t.Fatalf("%+v is the first word of a passive system", p)
	}
	if got, err := parse(p.append(nil)); err != nil || got != p {
		t.Fatalf("%+v is read as %+v, %v", p, got, err)
	}
}
