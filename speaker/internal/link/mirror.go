// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// mirror is what the kernel has told about links and addresses so far. Messages
// may come twice and in a wrong order around a dump; the last one counts.
type mirror struct {
	links     map[int]Interface // LinkLocal6 and Prefixes are filled in by snapshot
	addresses map[int]*addresses
}

// addresses are those of one interface, with the values derived from them.
type addresses struct {
	flags     map[netip.Prefix]uint32
	fresh     bool // the two below agree with flags
	prefixes  []netip.Prefix
	linkLocal netip.Addr
}

func newMirror() *mirror {
	return &mirror{links: make(map[int]Interface), addresses: make(map[int]*addresses)}
}

// apply takes in one message of the given type. Other types are ignored.
func (m *mirror) apply(kind uint16, payload []byte) {
	switch kind {
	case unix.RTM_NEWLINK:
		if l, ok := decodeLink(payload); ok {
			m.setLink(l)
		}
	case unix.RTM_DELLINK:
		if l, ok := decodeLink(payload); ok {
			delete(m.links, l.index)
			delete(m.addresses, l.index)
		}
	case unix.RTM_NEWADDR:
		if a, ok := decodeAddress(payload); ok {
			m.addAddress(a)
		}
	case unix.RTM_DELADDR:
		if a, ok := decodeAddress(payload); ok {
			m.removeAddress(a)
		}
	}
}

func (m *mirror) setLink(l linkMessage) {
	old, known := m.links[l.index]
	next := Interface{
		Index:  l.index,
		Name:   l.name,
		MTU:    l.mtu,
		Up:     l.flags&unix.IFF_UP != 0 && l.flags&unix.IFF_RUNNING != 0,
		Ups:    old.Ups,
		Master: l.master,
		ARP:    l.flags&unix.IFF_BROADCAST != 0 && l.flags&unix.IFF_NOARP == 0,
	}
	if l.ethernet {
		next.MAC = l.mac
	}
	if known && next.Up && !old.Up {
		next.Ups++
	}
	m.links[l.index] = next
}

func (m *mirror) addAddress(a addressMessage) {
	of := m.addresses[a.index]
	if of == nil {
		of = &addresses{flags: make(map[netip.Prefix]uint32)}
		m.addresses[a.index] = of
	}
	of.flags[a.prefix] = a.flags
	of.fresh = false
}

func (m *mirror) removeAddress(a addressMessage) {
	if of := m.addresses[a.index]; of != nil {
		delete(of.flags, a.prefix)
		of.fresh = false
	}
}

// inherit carries the counts of old over to m, which was read after events had
// been lost. A flap may have been among them, so every interface that is up
// counts as having come up again.
func (m *mirror) inherit(old *mirror) {
	for index, l := range m.links {
		was, known := old.links[index]
		if !known {
			continue
		}
		l.Ups = was.Ups
		if l.Up {
			l.Ups++
		}
		m.links[index] = l
	}
}

// snapshot returns all interfaces, sorted by index. The slices in it are shared
// with later snapshots and never modified.
func (m *mirror) snapshot() []Interface {
	all := make([]Interface, 0, len(m.links))
	for index, l := range m.links {
		if of := m.addresses[index]; of != nil {
			of.derive()
			l.Prefixes, l.LinkLocal6 = of.prefixes, of.linkLocal
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	return all
}

// derive brings prefixes and linkLocal up to date.
func (a *addresses) derive() {
	if a.fresh {
		return
	}
	a.fresh = true
	a.prefixes = make([]netip.Prefix, 0, len(a.flags))
	a.linkLocal = netip.Addr{}
	for p, flags := range a.flags {
		if flags&unix.IFA_F_DADFAILED != 0 {
			continue
		}
		a.prefixes = append(a.prefixes, p)
		if addr := p.Addr(); usableLinkLocal(addr, flags) && (!a.linkLocal.IsValid() || addr.Less(a.linkLocal)) {
			a.linkLocal = addr
		}
	}
	slices.SortFunc(a.prefixes, netip.Prefix.Compare)
}

// usableLinkLocal says whether addr may be the source of neighbor discovery. An
// optimistic address is still tentative, but may be used (RFC 4429).
func usableLinkLocal(addr netip.Addr, flags uint32) bool {
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return addr.Is6() && addr.IsLinkLocalUnicast() && !tentative
}
