// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func bgpBytes(kind byte, length int) []byte {
	b := append(bytes.Clone(bgpMarker), 0, 0, kind)
	binary.BigEndian.PutUint16(b[16:], uint16(length))
	return append(b, make([]byte, length-bgpHeader)...)
}

// Messages are found wherever segments begin and end, once each.
func TestMessagesOfSegments(t *testing.T) {
	stream := slices.Concat(bgpBytes(bgpKeepalive, 19), bgpBytes(bgpUpdate, 60), bgpBytes(bgpUpdate, 23), bgpBytes(bgpKeepalive, 19))
	want := []byte{bgpKeepalive, bgpUpdate, bgpUpdate, bgpKeepalive}
	const first = 1<<32 - 30 // sequence numbers begin anew
	for size := 1; size <= len(stream); size++ {
		s := bgpStream{next: first}
		var got []byte
		for at := 0; at < len(stream); at += size {
			piece := stream[at:min(at+size, len(stream))]
			for range 2 { // it is sent again
				for _, m := range s.take(first+uint32(at), piece, len(piece)) {
					got = append(got, m.kind)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("segments of %d octets have messages %v, want %v", size, got, want)
		}
	}
}

// After a gap, the next message that begins is found.
func TestMessagesAfterGap(t *testing.T) {
	var s bgpStream
	update, keepalive := bgpBytes(bgpUpdate, 60), bgpBytes(bgpKeepalive, 19)
	if got := s.take(0, update[:40], 40); got != nil {
		t.Fatalf("half a message is %v", got)
	}
	if got := s.take(50, slices.Concat(update[50:], keepalive), 29); len(got) != 1 || got[0].kind != bgpKeepalive {
		t.Errorf("after a gap there are %v, want a KEEPALIVE", got)
	}
}

func TestRoutedPrefixes(t *testing.T) {
	for i, want := range map[int]string{0: "198.18.0.0/32", 257: "198.18.1.1/32", 1<<17 - 1: "198.19.255.255/32"} {
		if got := routedPrefix(i).String(); got != want {
			t.Errorf("Service %d has %s, want %s", i, got, want)
		}
	}
}
