// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

// The oracle is a map; a small range of addresses makes for many collisions,
// replacements and graves.
func TestTableAgreesWithAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var tab table
	want := make(map[netip.Addr]*entry)
	for range 50_000 {
		a := testAddress(random.IntN(1500))
		if random.IntN(3) == 0 {
			tab.remove(a)
			delete(want, a)
		} else {
			e := &entry{Announcement: Announcement{Address: a}}
			tab.put(e)
			want[a] = e
		}
		probe := testAddress(random.IntN(1500))
		if got := tab.get(probe); got != want[probe] {
			t.Fatalf("get(%s) = %p, want %p", probe, got, want[probe])
		}
	}
	seen := 0
	for e := range tab.all() {
		seen++
		if want[e.Address] != e {
			t.Errorf("all yields %s, which is not there", e.Address)
		}
	}
	if seen != len(want) || tab.live != len(want) {
		t.Errorf("all yields %d entries, live says %d, want %d", seen, tab.live, len(want))
	}
	if size := len(*tab.slots.Load()); size > 8*1500 {
		t.Errorf("%d slots for at most 1500 entries: graves are not cleared", size)
	}
}

func TestTableIsReadWhileItChanges(t *testing.T) {
	var tab table
	stays := &entry{Announcement: Announcement{Address: netip.MustParseAddr("192.0.2.1")}}
	tab.put(stays)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if tab.get(stays.Address) != stays {
					t.Error("an entry is missing while others change")
					return
				}
				if e := tab.get(testAddress(7)); e != nil && e.Address != testAddress(7) {
					t.Errorf("get returns %s", e.Address)
					return
				}
			}
		})
	}
	for round := range 20 {
		for i := range 500 {
			if round%2 == 0 {
				tab.put(&entry{Announcement: Announcement{Address: testAddress(i)}})
			} else {
				tab.remove(testAddress(i))
			}
		}
	}
	close(done)
	readers.Wait()
}

func TestEmptyTable(t *testing.T) {
	var tab table
	tab.remove(testAddress(1))
	if e := tab.get(testAddress(1)); e != nil {
		t.Errorf("get = %v", e)
	}
	for e := range tab.all() {
		t.Errorf("all yields %v", e)
	}
}

// Ten thousand single announcements must not cost their square.
func BenchmarkTablePut(b *testing.B) {
	for b.Loop() {
		var tab table
		for i := range 10_000 {
			tab.put(&entry{Announcement: Announcement{Address: testAddress(i)}})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/put")
}

func BenchmarkARPAnswer(b *testing.B) {
	c := testARPCodec()
	for i := range 10_000 {
		c.table.put(&entry{Announcement: Announcement{Address: testAddress(2 * i)}, counters: new(counters)})
	}
	ask := arpFrame(b, broadcast(), 1, mac{2, 0, 0, 0, 0, 9}, "192.0.2.9", "10.0.0.0")
	for i := 0; b.Loop(); i++ {
		a := testAddress(2 * (i % 10_000)).As4()
		copy(ask[arpTargetAddrAt:], a[:])
		if c.Answer(ask) == nil {
			b.Fatal("no answer")
		}
	}
}

// testAddress is the nth address: even ones IPv4, odd ones IPv6.
func testAddress(n int) netip.Addr {
	if n%2 == 0 {
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(n >> 8), 15: byte(n)})
}
