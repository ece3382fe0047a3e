// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"sync/atomic"
)

// entry is an announced address. All but the counters is immutable; a changed
// announcement gets a new entry with the old counters.
type entry struct {
	Announcement
	counters *counters
}

// counters of one address, on all interfaces together.
type counters struct {
	requests   atomic.Uint64 // received for the address
	responses  atomic.Uint64 // sent in answer
	gratuitous atomic.Uint64 // announcements sent without having been asked
}

// allows says whether the address is announced on the interface of that name.
func (e *entry) allows(name string) bool {
	return len(e.Interfaces) == 0 || slices.Contains(e.Interfaces, name)
}

// table finds the entry of an address. It is a hash table with open addressing
// and linear probing, whose slots are pointers that are read and written one at
// a time: a lookup takes no lock and allocates nothing, a change costs O(1)
// amortised, and neither waits for the other. A plain map behind an atomic
// pointer would have to be copied for each change, which for ten thousand
// addresses announced one by one at start is a hundred million copies; sync.Map
// allocates on each lookup, to put the address into an interface value.
//
// Lookups may happen at any time; changes must not happen at once.
type table struct {
	slots atomic.Pointer[[]atomic.Pointer[entry]] // length is a power of two
	live  int                                     // entries
	used  int                                     // entries and graves
	grave entry                                   // stands where an entry was, so that probing goes on
}

// minSlots is the size of an empty table.
const minSlots = 64

// get returns the entry of a, or nil.
func (t *table) get(a netip.Addr) *entry {
	slots := t.slots.Load()
	if slots == nil {
		return nil
	}
	mask := uint64(len(*slots) - 1)
	for i := hash(a) & mask; ; i = (i + 1) & mask {
		e := (*slots)[i].Load()
		if e == nil {
			return nil
		}
		if e.Address == a { // never true of the grave: its address is invalid
			return e
		}
	}
}

// put adds e, or replaces the entry of the same address.
func (t *table) put(e *entry) {
	slots := t.room()
	mask := uint64(len(slots) - 1)
	for i := hash(e.Address) & mask; ; i = (i + 1) & mask {
		old := slots[i].Load()
		if old != nil && old.Address != e.Address {
			continue
		}
		slots[i].Store(e)
		if old == nil {
			t.live++
			t.used++
		}
		return
	}
}

// remove takes the entry of a away. Removing what is absent is success.
func (t *table) remove(a netip.Addr) {
	slots := t.slots.Load()
	if slots == nil {
		return
	}
	mask := uint64(len(*slots) - 1)
	for i := hash(a) & mask; ; i = (i + 1) & mask {
		e := (*slots)[i].Load()
		if e == nil {
			return
		}
		if e.Address == a {
			(*slots)[i].Store(&t.grave)
			t.live--
			return
		}
	}
}

// all yields every entry. Entries that are put or removed meanwhile may or may
// not be among them.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		slots := t.slots.Load()
		if slots == nil {
			return
		}
		for i := range *slots {
			if e := (*slots)[i].Load(); e != nil && e != &t.grave && !yield(e) {
				return
			}
		}
	}
}

// room returns slots of which at most half are in use after one more entry, so
// that probing stays short and always finds an end.
func (t *table) room() []atomic.Pointer[entry] {
	old := t.slots.Load()
	if old != nil && (t.used+1)*2 <= len(*old) {
		return *old
	}
	size := minSlots
	for size < (t.live+1)*4 {
		size *= 2
	}
	fresh := make([]atomic.Pointer[entry], size)
	mask := uint64(size - 1)
	for e := range t.all() {
		i := hash(e.Address) & mask
		for fresh[i].Load() != nil {
			i = (i + 1) & mask
		}
		fresh[i].Store(e)
	}
	t.used = t.live
	t.slots.Store(&fresh)
	return fresh
}

// hash spreads addresses, which in practice are neighbors, over the table. The
// set of addresses is the administrator's, so it need not withstand malice.
func hash(a netip.Addr) uint64 {
	b := a.As16()
	h := binary.LittleEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(b[8:])
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
