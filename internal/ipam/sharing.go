// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/btree"

	"github.com/herald-lb/herald/internal/lb"
)

// tenancy says who has one address.
type tenancy struct {
	grant grant
	// holders are sorted by age. More than one may share the address.
	holders []*claimant
	// terms are on what others may join. Meaningful if shared is set.
	terms  terms
	key    string
	shared bool
	// closed reports that nobody may join, because the address is reserved.
	closed bool
}

// terms are what decides whether another Service with the same sharing key may
// join. Addresses on equal terms are interchangeable, which spares looking at
// each of the many addresses that a much used key can have.
type terms struct {
	local bool
	// backends are those of all who have the address, with externalTrafficPolicy Local.
	// Empty: theirs differ, and they all agree to that.
	backends string
	// lenient reports that all of them agree to other backends.
	lenient bool
	// ports is the sorted list of ports in use in packed form.
	ports string
}

// shareGroup are the addresses of one family, pool and key that have equal terms.
type shareGroup struct {
	ports     []lb.Port
	positions *btree.BTreeG[position]
}

type shareGroups map[terms]*shareGroup

// conflict returns why c may not have the address together with those who have
// it. Nil: it may.
func (t *tenancy) conflict(c *claimant) *refusal {
	for _, h := range t.holders {
		if h == c {
			continue
		}
		if h.claim.Foreign {
			return &refusal{lb.ReasonAddressInUse, fmt.Sprintf("%s is in use by Service %s, whose loadBalancerClass is not the one that this controller serves",
				t.grant.addr, h.name())}
		}
		if r := mayShare(t.grant.addr.String, h.claim.Service, c.claim.Service); r != nil {
			return r
		}
	}
	return nil
}

// mayShare returns why applicant may not have an address that holder has.
func mayShare(addr func() string, holder, applicant *lb.Service) *refusal {
	refuse := func(reason lb.Reason, format string, args ...any) *refusal {
		return &refusal{reason, addr() + " " + fmt.Sprintf(format, args...)}
	}
	switch {
	case applicant.SharingKey == "":
		return refuse(lb.ReasonAddressInUse, "is in use by Service %s", holder.Name)
	case holder.SharingKey == "":
		return refuse(lb.ReasonAddressInUse, "is in use by Service %s, which has no sharing key", holder.Name)
	case holder.SharingKey != applicant.SharingKey:
		return refuse(lb.ReasonSharingRefused, "is shared under the key %q by Service %s, not under %q",
			holder.SharingKey, holder.Name, applicant.SharingKey)
	}
	if i := slices.IndexFunc(applicant.Ports, func(p lb.Port) bool { return slices.Contains(holder.Ports, p) }); i >= 0 {
		p := applicant.Ports[i]
		return refuse(lb.ReasonSharingRefused, "is in use on port %s/%d by Service %s", p.Protocol, p.Number, holder.Name)
	}
	switch {
	case holder.Local != applicant.Local:
		return refuse(lb.ReasonSharingRefused,
			"is shared by Service %s, which has another externalTrafficPolicy; Services that share must agree", holder.Name)
	case holder.Local && holder.Backends != applicant.Backends && (!holder.LocalSharing || !applicant.LocalSharing):
		return refuse(lb.ReasonSharingRefused, "is shared by Service %s, which has another selector; "+
			"with externalTrafficPolicy Local the selectors must be equal, or each of these Services must have the annotation %s: %q, which is missing from %s",
			holder.Name, lb.AnnotationAllowLocalSharing, "true", unwilling(holder, applicant))
	}
	return nil
}

// unwilling names those of the two who do not agree to another selector.
func unwilling(holder, applicant *lb.Service) string {
	switch {
	case applicant.LocalSharing:
		return holder.Name.String()
	case holder.LocalSharing:
		return "this one"
	}
	return holder.Name.String() + " and this one"
}

// shares reports whether others may join an address that c has.
func (c *claimant) shares() bool { return c.claim.Service.SharingKey != "" && !c.claim.Foreign }

// regroup files the address under the terms on which others may join now. It
// reports whether they have changed.
func (t *tenancy) regroup() bool {
	var (
		now    terms
		key    string
		ports  []lb.Port
		shared bool
	)
	if len(t.holders) > 0 && t.holders[0].shares() && !t.grant.pool.Broken && !t.closed {
		key, shared = t.holders[0].claim.Service.SharingKey, true
		now, ports = termsOf(t.holders)
	}
	if shared == t.shared && key == t.key && now == t.terms {
		return false
	}
	if t.shared {
		t.stock().leave(t)
	}
	t.key, t.terms, t.shared = key, now, shared
	if shared {
		t.stock().join(t, ports)
	}
	return true
}

func (t *tenancy) stock() *stock { return t.grant.pool.stock(lb.FamilyOf(t.grant.addr)) }

func (s *stock) join(t *tenancy, ports []lb.Port) {
	if s.shared == nil {
		s.shared = map[string]shareGroups{}
	}
	groups := s.shared[t.key]
	if groups == nil {
		groups = shareGroups{}
		s.shared[t.key] = groups
	}
	group := groups[t.terms]
	if group == nil {
		group = &shareGroup{ports, btree.NewG(degree, position.less)}
		groups[t.terms] = group
	}
	group.positions.ReplaceOrInsert(t.grant.position())
}

func (s *stock) leave(t *tenancy) {
	groups := s.shared[t.key]
	group := groups[t.terms]
	group.positions.Delete(t.grant.position())
	if group.positions.Len() > 0 {
		return
	}
	delete(groups, t.terms)
	if len(groups) == 0 {
		delete(s.shared, t.key)
	}
}

// joinable returns the first address in use that c may share.
func (s *stock) joinable(c *claimant) (lowest position, ok bool) {
	svc := c.claim.Service
	for t, group := range s.shared[svc.SharingKey] {
		if !t.admit(svc) || overlap(group.ports, svc.Ports) {
			continue
		}
		if p, _ := group.positions.Min(); !ok || p.less(lowest) {
			lowest, ok = p, true
		}
	}
	return lowest, ok
}

// admit reports whether a Service may join but for its ports.
func (t *terms) admit(s *lb.Service) bool {
	return t.local == s.Local && (!t.local || t.backends == s.Backends || t.lenient && s.LocalSharing)
}

func overlap(a, b []lb.Port) bool {
	return slices.ContainsFunc(a, func(p lb.Port) bool { return slices.Contains(b, p) })
}

// termsOf returns the terms of an address with these holders, and their ports.
func termsOf(holders []*claimant) (terms, []lb.Port) {
	var ports []lb.Port
	for _, h := range holders {
		ports = append(ports, h.claim.Service.Ports...)
	}
	slices.SortFunc(ports, func(a, b lb.Port) int {
		if a.Protocol != b.Protocol {
			if a.Protocol < b.Protocol {
				return -1
			}
			return 1
		}
		return int(a.Number) - int(b.Number)
	})
	first := holders[0].claim.Service
	t := terms{local: first.Local, ports: pack(ports)}
	if !t.local {
		return t, ports
	}
	t.backends, t.lenient = first.Backends, true
	for _, h := range holders {
		t.lenient = t.lenient && h.claim.Service.LocalSharing
		if h.claim.Service.Backends != t.backends {
			t.backends = ""
		}
	}
	return t, ports
}

func pack(ports []lb.Port) string {
	var b []byte
	for _, p := range ports {
		b = append(b, p.Protocol...)
		b = binary.BigEndian.AppendUint16(append(b, '/'), p.Number)
	}
	return string(b)
}
