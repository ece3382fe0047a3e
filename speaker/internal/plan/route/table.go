// SPDX-License-Identifier: Apache-2.0

package route

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// PathKey says what is advertised and to whom. It is comparable.
type PathKey struct {
	// Peer is the name of a BGPPeer.
	Peer   string
	Prefix netip.Prefix
}

// Path says how a prefix is advertised. Paths share their slices, which must not be
// modified.
type Path struct {
	// LocalPref is LOCAL_PREF (RFC 4271, 5.1.5). Zero: unset.
	LocalPref uint32
	// Communities are sorted and unique.
	Communities []lb.Community
	// Overruled are the advertisements whose LocalPref does not count, sorted.
	Overruled []string
}

func (p *Path) equal(o *Path) bool {
	return p.LocalPref == o.LocalPref && slices.Equal(p.Communities, o.Communities) && slices.Equal(p.Overruled, o.Overruled)
}

// Change is a path that is to be advertised, in place of one there was before or not,
// or withdrawn.
type Change struct {
	PathKey
	Path
	Withdraw bool
}

// Table adds up the claims of addresses to paths. A prefix that several addresses want
// is one path for each peer; it goes when the last of them does. It is not safe for
// concurrent use.
type Table struct {
	view *View
	// claims are those of each address that has any.
	claims map[netip.Addr][]Claim
	// prefixes count the claims on each prefix, by advertisement.
	prefixes map[netip.Prefix]counts
	// dirty are the prefixes to look at, as far as they may have changed.
	dirty map[netip.Prefix]struct{}
	// advertised is what Changes has said so far.
	advertised map[netip.Prefix]*composition
	// compositions are the paths of each set of advertisements that occurs. There are
	// few, however many prefixes there are.
	compositions map[string]*composition
	size         int
}

// counts are how many addresses claim a prefix, by advertisement, ascending. They are
// never zero.
type counts []count

type count struct{ advertisement, addresses int }

// composition is what a prefix is to each peer, by its advertisements.
type composition struct {
	// paths are by the names of the peers, ascending.
	paths []peerPath
}

type peerPath struct {
	peer string
	Path
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{
		claims: make(map[netip.Addr][]Claim), prefixes: make(map[netip.Prefix]counts),
		dirty: make(map[netip.Prefix]struct{}), advertised: make(map[netip.Prefix]*composition),
	}
}

// Use makes the table forget all claims: they were another view's. What has been
// advertised is not forgotten. All addresses have to be put again before Changes is
// asked, or they count as gone.
func (t *Table) Use(v *View) {
	t.view = v
	clear(t.claims)
	clear(t.prefixes)
	t.compositions = make(map[string]*composition)
	for p := range t.advertised {
		t.dirty[p] = struct{}{}
	}
}

// Put replaces the claims of an address, which are those of a Verdict by the View in
// use; without any, the address is gone.
func (t *Table) Put(address netip.Addr, claims []Claim) {
	old := t.claims[address]
	if slices.Equal(old, claims) {
		return
	}
	for _, c := range old {
		t.count(c, -1)
	}
	for _, c := range claims {
		t.count(c, 1)
	}
	if len(claims) == 0 {
		delete(t.claims, address)
	} else {
		t.claims[address] = claims
	}
}

// count adds n to the claims on a prefix, and notes it if an advertisement has come to
// it or gone from it.
func (t *Table) count(c Claim, n int) {
	all := t.prefixes[c.Prefix]
	i, found := slices.BinarySearchFunc(all, c.advertisement, func(e count, ad int) int { return cmp.Compare(e.advertisement, ad) })
	if found {
		all[i].addresses += n
		if all[i].addresses > 0 {
			return
		}
		all = slices.Delete(all, i, i+1)
	} else {
		all = slices.Insert(all, i, count{c.advertisement, n})
	}
	if len(all) == 0 {
		delete(t.prefixes, c.Prefix)
	} else {
		t.prefixes[c.Prefix] = all
	}
	t.dirty[c.Prefix] = struct{}{}
}

// Changes returns what has changed since it was last asked, in no order. What is not
// done with is not told again.
func (t *Table) Changes() []Change {
	var changes []Change
	for prefix := range t.dirty {
		old, now := t.advertised[prefix], t.compose(prefix)
		if old == now {
			continue
		}
		changes = appendChanges(changes, prefix, old, now)
		t.size += now.size() - old.size()
		if now.size() == 0 {
			delete(t.advertised, prefix)
		} else {
			t.advertised[prefix] = now
		}
	}
	t.forgetDirty()
	return changes
}

// forgetDirty empties the list. A map that was large once would cost as much to walk
// as it had entries then, for ever: it is replaced.
func (t *Table) forgetDirty() {
	const small = 256
	if len(t.dirty) > small {
		t.dirty = make(map[netip.Prefix]struct{})
		return
	}
	clear(t.dirty)
}

// Len returns how many paths have been advertised by Changes and not withdrawn.
func (t *Table) Len() int { return t.size }

func (c *composition) size() int {
	if c == nil {
		return 0
	}
	return len(c.paths)
}

// compose returns the composition of the advertisements that a prefix has; nil if it
// has none.
func (t *Table) compose(prefix netip.Prefix) *composition {
	all := t.prefixes[prefix]
	if len(all) == 0 {
		return nil
	}
	family := lb.FamilyOf(prefix.Addr())
	key := []byte{byte(family)}
	for _, c := range all {
		key = binary.AppendUvarint(key, uint64(c.advertisement))
	}
	if found, ok := t.compositions[string(key)]; ok {
		return found
	}
	made := t.view.compose(all, family)
	t.compositions[string(key)] = made
	return made
}

// compose makes the paths for all peers that one of the advertisements tells.
func (v *View) compose(all counts, f lb.Family) *composition {
	var peers []int
	for _, c := range all {
		peers = union(peers, v.advertisements[c.advertisement].told(f))
	}
	made := &composition{paths: make([]peerPath, 0, len(peers))}
	for _, p := range peers {
		path := peerPath{peer: v.peers.Peers[p].Name}
		for _, c := range all {
			ad := &v.advertisements[c.advertisement]
			if slices.Contains(ad.told(f), p) {
				path.merge(ad)
			}
		}
		slices.Sort(path.Overruled)
		made.paths = append(made.paths, path)
	}
	return made
}

// merge adds what an advertisement says, which is younger than those before.
func (p *peerPath) merge(ad *advertisement) {
	switch {
	case ad.LocalPref == 0:
	case p.LocalPref == 0:
		p.LocalPref = ad.LocalPref
	case p.LocalPref != ad.LocalPref:
		p.Overruled = append(p.Overruled, ad.Name)
	}
	communities := slices.Concat(p.Communities, ad.Communities)
	slices.SortFunc(communities, lb.Community.Compare)
	p.Communities = slices.Compact(communities)
}

// appendChanges compares what a prefix was and is, peer by peer.
func appendChanges(changes []Change, prefix netip.Prefix, old, now *composition) []Change {
	var before, after []peerPath
	if old != nil {
		before = old.paths
	}
	if now != nil {
		after = now.paths
	}
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].peer < after[0].peer:
			changes = append(changes, Change{PathKey: PathKey{before[0].peer, prefix}, Withdraw: true})
			before = before[1:]
		case len(before) == 0 || after[0].peer < before[0].peer:
			changes = append(changes, Change{PathKey: PathKey{after[0].peer, prefix}, Path: after[0].Path})
			after = after[1:]
		default:
			if !before[0].equal(&after[0].Path) {
				changes = append(changes, Change{PathKey: PathKey{after[0].peer, prefix}, Path: after[0].Path})
			}
			before, after = before[1:], after[1:]
		}
	}
	return changes
}
