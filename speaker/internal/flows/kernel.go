// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// perMessage bounds the entries in one message: 64 octets for each at most,
	// in an attribute whose length has 16 bits.
	perMessage = 1000
	// perTransaction bounds the entries that change at once.
	perTransaction = 10_000
	// reads bounds how often the entries are listed until two lists agree.
	reads = 5
)

// probe has the kernel make the whole ruleset, under another name and without
// entries, and remove it in the same transaction.
func (f family) probe(s *socket) error {
	return f.explain("try rules", s.try(func(c *nftables.Conn) error {
		r := f.ruleset(probeName)
		if err := r.install(c); err != nil {
			return err
		}
		c.DelTable(r.table)
		return c.Flush()
	}))
}

// among returns the pairs of this family.
func (f family) among(pairs []pair) []pair {
	return slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.address.BitLen() != f.bits() })
}

// create adds the making of entries to a transaction, which fails if there is one that
// leads elsewhere.
func (f family) create(c *nftables.Conn, pairs []pair, d time.Duration) error {
	if len(pairs) == 0 {
		return nil
	}
	if f.unusable != nil {
		return f.unusable
	}
	r := f.ruleset(tableName)
	if err := r.install(c); err != nil {
		return err
	}
	return add(c, r.former, entriesOf(pairs, d))
}

// keep makes or replaces entries.
func (f family) keep(s *socket, pairs []pair, d time.Duration) error {
	if f.unusable != nil {
		return f.unusable
	}
	for chunk := range slices.Chunk(pairs, perTransaction) {
		err := s.try(func(c *nftables.Conn) error {
			present, _, err := f.list(c)
			if err != nil {
				return err
			}
			return f.replace(c, present, chunk, d)
		})
		if isForeign(err) {
			err = s.try(func(c *nftables.Conn) error {
				c.DelTable(f.ruleset(tableName).table)
				return f.replace(c, nil, chunk, d)
			})
		}
		if err != nil {
			return f.explain("make entries", err)
		}
	}
	return nil
}

// isForeign says whether the table that has our name may be of another make, into
// which entries and rules do not fit.
func isForeign(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL)
}

// replace is one transaction. Kernels before 6.12 cannot change the timeout of an
// entry, and none changes its value. To remove one by its name fails, and with it the
// transaction, if it has just expired. So where entries are there already, all are
// removed and the others made again.
func (f family) replace(c *nftables.Conn, present []Entry, pairs []pair, d time.Duration) error {
	entries := entriesOf(pairs, d)
	fresh := make(map[netip.Addr]bool, len(pairs))
	for _, p := range pairs {
		fresh[p.address] = true
	}
	rest := slices.DeleteFunc(slices.Clone(present), func(e Entry) bool { return fresh[e.Address] })
	r := f.ruleset(tableName)
	if err := r.install(c); err != nil {
		return err
	}
	if len(rest) < len(present) {
		c.FlushSet(r.former)
		entries = append(entries, rest...)
	}
	if err := add(c, r.former, entries); err != nil {
		return err
	}
	return c.Flush()
}

func entriesOf(pairs []pair, d time.Duration) []Entry {
	entries := make([]Entry, len(pairs))
	for i, p := range pairs {
		entries[i] = Entry{Address: p.address, Former: p.former, Left: d}
	}
	return entries
}

// add adds entries to a transaction.
func add(c *nftables.Conn, to *nftables.Set, entries []Entry) error {
	for chunk := range slices.Chunk(entries, perMessage) {
		elements := make([]nftables.SetElement, len(chunk))
		for i, e := range chunk {
			left := max(e.Left, time.Millisecond) // nothing would be for ever
			elements[i] = nftables.SetElement{Key: e.Address.AsSlice(), Val: e.Former.AsSlice(), Timeout: left}
		}
		if err := c.SetAddElements(to, elements); err != nil {
			return err
		}
	}
	return nil
}

// remove removes entries, or the whole table if none remains, and returns those that were
// there.
func (f family) remove(s *socket, gone func(Entry) bool) (removed []Entry, err error) {
	err = s.try(func(c *nftables.Conn) error {
		present, exists, err := f.list(c)
		if err != nil || !exists {
			return err
		}
		var rest []Entry
		removed = nil
		for _, e := range present {
			if gone(e) {
				removed = append(removed, e)
			} else {
				rest = append(rest, e)
			}
		}
		r := f.ruleset(tableName)
		if len(rest) == 0 {
			c.DelTable(r.table)
			return c.Flush()
		}
		if len(removed) == 0 {
			return nil
		}
		c.FlushSet(r.former)
		if err := add(c, r.former, rest); err != nil {
			return err
		}
		return c.Flush()
	})
	if err != nil {
		return nil, f.explain("remove entries", err)
	}
	return removed, nil
}

// list returns the entries, and whether there is a table at all. The kernel gives a
// long list in parts, and goes on where it was by counting. When it clears expired
// entries away meanwhile, it skips as many others, and says nothing. So a list
// counts when two in a row agree.
func (f family) list(c *nftables.Conn) (entries []Entry, exists bool, err error) {
	r := f.ruleset(tableName)
	_, err = c.GetSetByName(r.table, mapName)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for range reads {
		last := entries
		if entries, err = read(c, r.former); err != nil {
			return nil, false, err
		}
		if last != nil && slices.EqualFunc(entries, last, sameLead) {
			return entries, true, nil
		}
	}
	return nil, false, errors.New("the table changes while it is read")
}

// read returns the entries as the kernel lists them, sorted by address; not nil.
func read(c *nftables.Conn, former *nftables.Set) ([]Entry, error) {
	elements, err := c.GetSetElements(former)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(elements))
	for _, e := range elements {
		address, ok := netip.AddrFromSlice(e.Key)
		former, okToo := netip.AddrFromSlice(e.Val)
		if ok && okToo {
			entries = append(entries, Entry{Address: address, Former: former, Left: e.Expires})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.Address.Compare(b.Address) })
	return entries, nil
}

func sameLead(a, b Entry) bool { return a.Address == b.Address && a.Former == b.Former }

// count reads the counters. Without a table there are none.
func (f family) count(c *nftables.Conn) (Count, error) {
	objects, err := c.GetNamedObjects(f.ruleset(tableName).table)
	if err != nil {
		return Count{}, err
	}
	var count Count
	for _, o := range objects {
		named, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		counter, ok := named.Obj.(*expr.Counter)
		if !ok {
			continue
		}
		switch named.Name {
		case passedName:
			count.PassedOn = counter.Packets
		case lostName:
			count.Dropped = counter.Packets
		}
	}
	return count, nil
}

// explain says what can be done about an error of the kernel.
func (f family) explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s of nftables: %w: grant the container the capability NET_ADMIN", what, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP),
		errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s of nftables: %w: load the kernel modules nf_tables, nft_ct and %s on the node", what, err, f.module)
	default:
		return fmt.Errorf("%s of nftables: %w", what, err)
	}
}

// native32 is a number as the kernel has it in a register.
func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
