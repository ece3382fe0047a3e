// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// Types of messages (RFC 4271, 4.1), and what each begins with.
const (
	bgpUpdate    = 2
	bgpKeepalive = 4

	bgpHeader = 19
	bgpPort   = 179
)

var bgpMarker = bytes.Repeat([]byte{0xff}, 16)

// bgpMessage is a message on a router's cable.
type bgpMessage struct {
	at     time.Time
	from   netip.Addr
	kind   byte
	length int
}

// tap has the messages that pass on a router's cable.
type tap struct {
	capture *lab.Capture
	ended   chan struct{}

	mu      sync.Mutex
	streams map[[2]netip.AddrPort]*bgpStream
	seen    []bgpMessage
}

// tapRouter starts to listen, until close.
func tapRouter(ctx context.Context, r *router) (*tap, error) {
	capture, err := r.Capture(r.link)
	if err != nil {
		return nil, err
	}
	t := &tap{capture: capture, ended: make(chan struct{}), streams: make(map[[2]netip.AddrPort]*bgpStream)}
	go func() {
		defer close(t.ended)
		for {
			frame, err := capture.Next(ctx)
			if err != nil {
				return
			}
			t.take(frame)
		}
	}()
	return t, nil
}

func (t *tap) close() error {
	err := t.capture.Close()
	<-t.ended
	return err
}

// forget forgets what has passed.
func (t *tap) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = nil
}

// updates returns how many UPDATEs the router has been sent, but for End-of-RIB markers.
func (t *tap) updates(router netip.Addr) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.seen {
		if m.kind == bgpUpdate && m.from != router && m.length > bgpHeader+4 {
			n++
		}
	}
	return n
}

// established returns when both sides had sent their first KEEPALIVE. Zero: not yet.
func (t *tap) established(router netip.Addr) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ours, theirs time.Time
	for _, m := range t.seen {
		first := &ours
		if m.from == router {
			first = &theirs
		}
		if m.kind == bgpKeepalive && first.IsZero() {
			*first = m.at
		}
	}
	switch {
	case ours.IsZero() || theirs.IsZero():
		return time.Time{}
	case ours.After(theirs):
		return ours
	}
	return theirs
}

// take looks at a frame for a segment of a BGP session over IPv4.
func (t *tap) take(f lab.Frame) {
	const ethernet, least = 14, 20
	if f.EtherType() != 0x0800 || len(f.Bytes) < ethernet+least {
		return
	}
	ip := f.Bytes[ethernet:]
	head, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[9] != 6 || head < least || len(ip) < head+least || total < head+least {
		return
	}
	tcp := ip[head:min(total, len(ip))]
	offset := int(tcp[12]>>4) * 4
	from, _ := netip.AddrFromSlice(ip[12:16])
	to, _ := netip.AddrFromSlice(ip[16:20])
	ports := [2]uint16{binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:])}
	length := total - head - offset
	if length <= 0 || offset > len(tcp) || ports[0] != bgpPort && ports[1] != bgpPort {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]netip.AddrPort{netip.AddrPortFrom(from, ports[0]), netip.AddrPortFrom(to, ports[1])}
	s := t.streams[key]
	if s == nil {
		s = &bgpStream{next: binary.BigEndian.Uint32(tcp[4:])}
		t.streams[key] = s
	}
	for _, m := range s.take(binary.BigEndian.Uint32(tcp[4:]), tcp[offset:], length) {
		m.at, m.from = f.Time, from
		t.seen = append(t.seen, m)
	}
}

// bgpStream is one direction of a connection.
type bgpStream struct {
	next   uint32
	buffer []byte
}

// take returns the messages that a segment completes. Of the segment, data may lack the end
// of its length. After a gap it goes on with the next message that begins.
func (s *bgpStream) take(sequence uint32, data []byte, length int) (found []bgpMessage) {
	if behind := int32(sequence - s.next); behind < 0 {
		if -int(behind) >= length { // sent again
			return nil
		}
		data = data[min(-int(behind), len(data)):]
	} else if behind > 0 {
		s.buffer = nil
	}
	missing := sequence+uint32(length)-s.next != uint32(len(data))
	s.next = sequence + uint32(length)
	s.buffer = append(s.buffer, data...)
	for {
		begin := bytes.Index(s.buffer, bgpMarker)
		if begin < 0 || len(s.buffer) < begin+bgpHeader {
			break
		}
		s.buffer = s.buffer[begin:]
		size := max(bgpHeader, int(binary.BigEndian.Uint16(s.buffer[16:])))
		if len(s.buffer) < size {
			break
		}
		found = append(found, bgpMessage{kind: s.buffer[18], length: size})
		s.buffer = s.buffer[size:]
	}
	if missing {
		s.buffer = nil
	}
	return found
}
