// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
)

// clearing is how long the kernel may take to clear an entry away that has expired.
const clearing = time.Second

// Entry says where this node's kernel passes on packets of unknown TCP
// connections.
type Entry struct {
	Address netip.Addr    // their destination
	Former  netip.Addr    // the node that gets them, on a link of this one
	Left    time.Duration // until the kernel removes the entry
}

// Count is how many packets the rules have taken since their table was made.
type Count struct {
	PassedOn uint64 // to former nodes
	Dropped  uint64 // because they had been passed on too often, or their entry ended that moment
}

// Table is the kernel's table of former nodes; it holds no copy of it, but knows which
// addresses have no entry. Its methods may be called from several goroutines at once, in
// the network namespace in which it was opened.
type Table struct {
	families []family // not modified after Open

	mu     sync.Mutex // guards what follows; and one change at a time
	socket socket
	// taken are the addresses that there may be entries of, and until when.
	taken map[netip.Addr]time.Time
}

// Open checks that the kernel can pass on packets and that this process may make
// it do so, by an attempt that leaves nothing behind. The entries of a previous
// process stay with the time that is left to them; tables of it without entries
// are removed. The error says what to do. A kernel that can do only one
// of IPv4 and IPv6 is good enough; Keep refuses the other then.
func Open() (*Table, error) {
	t := &Table{families: []family{ipv4(), ipv6()}, taken: make(map[netip.Addr]time.Time)}
	var errs []error
	for i := range t.families {
		if err := t.families[i].probe(&t.socket); err != nil {
			t.families[i].unusable = err
			errs = append(errs, err)
		}
	}
	if len(errs) == len(t.families) {
		return nil, errors.Join(errs...)
	}
	if err := t.Prune(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	entries, err := t.Entries()
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.expect(entries)
	return t, nil
}

// Close closes the socket; tables and entries stay. A method that is called
// nevertheless opens another one.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.socket.close()
}

// Keep makes the kernel pass on, for the time d, packets of unknown connections:
// those to each address (key) go to the node (value), which has to be of the same
// family and on a link of this node. Entries for these addresses that are there
// already are replaced, together with their timeout; others stay. Those of one
// family change at once, as long as they are not more than 10 000. Tables and
// rules are made or repaired as needed.
//
// The error names the addresses for which that is not possible; the others are
// done nevertheless. d is at least a millisecond.
func (t *Table) Keep(former map[netip.Addr]netip.Addr, d time.Duration) error {
	if d < time.Millisecond {
		return fmt.Errorf("keep connections for %s: it has to be at least 1ms", d)
	}
	pairs, errs := check(former)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.create(pairs, d) {
		return errors.Join(errs...)
	}
	for _, f := range t.families {
		mine := f.among(pairs)
		if len(mine) == 0 {
			continue
		}
		if err := f.keep(&t.socket, mine, d); err != nil {
			errs = append(errs, fmt.Errorf("keep connections to %s: %w", name(mine), err))
		}
	}
	return errors.Join(errs...)
}

// create makes entries of both families in one transaction, without a look at what is
// there, and says whether it did. Clients wait meanwhile. It is for addresses that there
// are no entries of. Whatever it cannot do is done with more care.
func (t *Table) create(pairs []pair, d time.Duration) bool {
	now := time.Now()
	maps.DeleteFunc(t.taken, func(_ netip.Addr, until time.Time) bool { return until.Before(now) })
	fresh := len(pairs) <= perTransaction && !slices.ContainsFunc(pairs, func(p pair) bool {
		_, taken := t.taken[p.address]
		return taken
	})
	for _, p := range pairs {
		t.taken[p.address] = now.Add(d + clearing)
	}
	if !fresh {
		return false
	}
	return t.socket.once(func(c *nftables.Conn) error {
		for _, f := range t.families {
			if err := f.create(c, f.among(pairs), d); err != nil {
				return err
			}
		}
		return c.Flush()
	}) == nil
}

// expect takes note of entries that are there.
func (t *Table) expect(entries []Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.taken[e.Address] = time.Now().Add(e.Left + clearing)
	}
}

// Entries returns what the kernel has, sorted by address.
func (t *Table) Entries() ([]Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Entry
	for _, f := range t.usable() {
		var entries []Entry
		err := t.socket.try(func(c *nftables.Conn) (err error) {
			entries, _, err = f.list(c)
			return err
		})
		if err != nil {
			return nil, f.explain("list entries", err)
		}
		all = append(all, entries...)
	}
	slices.SortFunc(all, func(a, b Entry) int { return a.Address.Compare(b.Address) })
	return all, nil
}

// Count returns the sum of both families. It begins at zero again when tables
// were removed.
func (t *Table) Count() (Count, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum Count
	for _, f := range t.usable() {
		var count Count
		err := t.socket.try(func(c *nftables.Conn) (err error) {
			count, err = f.count(c)
			return err
		})
		if err != nil {
			return Count{}, f.explain("read counters", err)
		}
		sum.PassedOn += count.PassedOn
		sum.Dropped += count.Dropped
	}
	return sum, nil
}

// Forget removes all entries that lead to a node. Having none is no error.
func (t *Table) Forget(former netip.Addr) error {
	former = plain(former)
	return t.remove(func(e Entry) bool { return e.Former == former })
}

// Remove removes the entries of some addresses. Having none is no error.
func (t *Table) Remove(addresses ...netip.Addr) error {
	gone := make(map[netip.Addr]bool, len(addresses))
	for _, a := range addresses {
		gone[plain(a)] = true
	}
	return t.remove(func(e Entry) bool { return gone[e.Address] })
}

// Prune removes the tables if they have no entries, so that packets pay nothing.
// Forget and Remove do so, too; it remains to be done when entries have expired.
func (t *Table) Prune() error {
	return t.remove(func(Entry) bool { return false })
}

func (t *Table) remove(gone func(Entry) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, f := range t.usable() {
		removed, err := f.remove(&t.socket, gone)
		for _, e := range removed {
			delete(t.taken, e.Address)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// usable are the families that the kernel can do.
func (t *Table) usable() []family {
	return slices.DeleteFunc(slices.Clone(t.families), func(f family) bool { return f.unusable != nil })
}
