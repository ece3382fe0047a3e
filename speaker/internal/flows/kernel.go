// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// perMessage bounds the entries in one message: 64 octets for each at most,
	// in an attribute whose length has 16 bits.
	perMessage = 1000
	// perTransaction bounds the entries that change at once.
	perTransaction = 10_000
	// sendBuffer is enough for a transaction that removes and adds so many: the
	// kernel takes a transaction whole or not at all.
	sendBuffer = 2 << 20
	// tries bounds how often a change is begun again because the table was not
	// what it was read to be: an entry has expired, or somebody flushed it.
	tries = 3
)

// probe has the kernel make the whole ruleset, under another name and without
// entries, and remove it in the same transaction.
func (f family) probe() error {
	c, err := dial()
	if err != nil {
		return f.explain("open netlink socket", err)
	}
	r := f.ruleset(probeName)
	if err := r.install(c); err != nil {
		return f.explain("compose rules", err)
	}
	c.DelTable(r.table)
	if err := c.Flush(); err != nil {
		return f.explain("make rules", err)
	}
	return nil
}

// dial prepares a connection. It opens a socket for each request: what an aborted
// transaction has left unread cannot be taken for the answer to the next.
func dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		// An error would otherwise come with all that was sent.
		if err := c.SetOption(netlink.CapAcknowledge, true); err != nil {
			return err
		}
		return c.SetWriteBuffer(sendBuffer)
	}))
}

// keep makes or replaces entries.
func (f family) keep(pairs []pair, d time.Duration) error {
	if f.unusable != nil {
		return f.unusable
	}
	for chunk := range slices.Chunk(pairs, perTransaction) {
		if err := f.retry("make entries", func(c *nftables.Conn) error { return f.replace(c, chunk, d) }); err != nil {
			return err
		}
	}
	return nil
}

// replace is one transaction. Kernels before 6.12 cannot change the timeout of an
// entry, and none changes its value, so that those which are there are removed in it.
func (f family) replace(c *nftables.Conn, pairs []pair, d time.Duration) error {
	present, _, err := f.list()
	if err != nil {
		return err
	}
	there := make(map[netip.Addr]bool, len(present))
	for _, e := range present {
		there[e.Address] = true
	}
	var stale, fresh []nftables.SetElement
	for _, p := range pairs {
		key := p.address.AsSlice()
		if there[p.address] {
			stale = append(stale, nftables.SetElement{Key: key})
		}
		fresh = append(fresh, nftables.SetElement{Key: key, Val: p.former.AsSlice(), Timeout: d})
	}
	r := f.ruleset(tableName)
	if err := r.install(c); err != nil {
		return err
	}
	if err := chunked(r.former, stale, c.SetDeleteElements); err != nil {
		return err
	}
	if err := chunked(r.former, fresh, c.SetAddElements); err != nil {
		return err
	}
	return c.Flush()
}

func chunked(s *nftables.Set, elements []nftables.SetElement, add func(*nftables.Set, []nftables.SetElement) error) error {
	for chunk := range slices.Chunk(elements, perMessage) {
		if err := add(s, chunk); err != nil {
			return err
		}
	}
	return nil
}

// remove removes entries, or the whole table if none remains.
func (f family) remove(gone func(Entry) bool) error {
	return f.retry("remove entries", func(c *nftables.Conn) error {
		present, exists, err := f.list()
		if err != nil || !exists {
			return err
		}
		var elements []nftables.SetElement
		for _, e := range present {
			if gone(e) {
				elements = append(elements, nftables.SetElement{Key: e.Address.AsSlice()})
			}
		}
		r := f.ruleset(tableName)
		if len(elements) == len(present) {
			c.DelTable(r.table)
		} else if err := chunked(r.former, elements, c.SetDeleteElements); err != nil {
			return err
		}
		return c.Flush()
	})
}

// retry begins a change anew while the table is not what it was read to be.
func (f family) retry(what string, change func(*nftables.Conn) error) error {
	var err error
	for range tries {
		var c *nftables.Conn
		if c, err = dial(); err != nil {
			break
		}
		if err = change(c); err == nil || !isStale(err) {
			break
		}
	}
	return f.explain(what, err)
}

// isStale says whether the table may have changed since it was read.
func isStale(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}

// list returns the entries, and whether there is a table at all.
func (f family) list() (entries []Entry, exists bool, err error) {
	c, err := dial()
	if err != nil {
		return nil, false, f.explain("open netlink socket", err)
	}
	r := f.ruleset(tableName)
	_, err = c.GetSetByName(r.table, mapName)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, f.explain("find table", err)
	}
	elements, err := c.GetSetElements(r.former)
	if err != nil {
		return nil, false, f.explain("list entries", err)
	}
	for _, e := range elements {
		address, ok := netip.AddrFromSlice(e.Key)
		former, okToo := netip.AddrFromSlice(e.Val)
		if ok && okToo {
			entries = append(entries, Entry{Address: address, Former: former, Left: e.Expires})
		}
	}
	return entries, true, nil
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

func compareText(a, b error) int { return strings.Compare(a.Error(), b.Error()) }
