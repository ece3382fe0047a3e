// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"iter"
	"maps"
)

// pending is a map that costs as much to iterate as it has entries. A Go map does not
// do this: it never shrinks, so that once it has held the backlog of a start, every
// later look at its one or two entries walks all the room that the backlog took.
// The zero value is empty.
type pending[K comparable, V any] struct {
	entries map[K]V
	// room is the most entries the map has held since it was made.
	room int
}

// wasteful is how many times more room than entries is worth a new map. The walk that
// makes it is paid for by the insertions that made the room.
const wasteful = 8

func (p *pending[K, V]) set(k K, v V) {
	if p.entries == nil {
		p.entries = make(map[K]V)
	}
	p.entries[k] = v
	p.room = max(p.room, len(p.entries))
}

// all yields the entries, each only if it is still there when its turn comes: the loop
// may outlive the map it started with.
func (p *pending[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		p.shrink()
		for k := range p.entries {
			v, ok := p.entries[k]
			if ok && !yield(k, v) {
				return
			}
		}
	}
}

func (p *pending[K, V]) shrink() {
	if p.room < wasteful*(len(p.entries)+1) {
		return
	}
	// A clone would keep the room.
	entries := make(map[K]V, len(p.entries))
	maps.Copy(entries, p.entries)
	p.entries, p.room = entries, len(entries)
}
