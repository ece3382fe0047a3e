// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"unique"
)

// absorb takes over what has changed.
func (s *session) absorb(changes map[netip.Prefix]change) {
	for p, c := range changes {
		if c.withdrawn {
			s.routes.DeleteDesired(p)
		} else {
			s.routes.SetDesired(p, s.resolve(p, c.attributes))
		}
	}
}

// resolve fills in what depends on the session.
func (s *session) resolve(p netip.Prefix, a attributes) route {
	if a.self {
		a.nextHop = s.hops.of(familyOf(p.Addr()))
	}
	a.leaving = s.leaving
	return unique.Make(a)
}

// resolveAgain does so for all routes, after what they depend on has changed.
func (s *session) resolveAgain() {
	for p, r := range maps.Collect(s.routes.AllDesired()) {
		s.routes.SetDesired(p, s.resolve(p, r.Value()))
	}
	clear(s.encoded)
}

// send applies the differences. It says whether it was interrupted. Before the first
// connection there is nothing to send: the next hops are not known.
func (s *session) send(ctx context.Context) (interrupted bool, err error) {
	if s.hops == (nextHops{}) {
		return false, nil
	}
	var failed []error
	for p := range s.routes.PendingDeletions() {
		if s.urgent.Load() {
			return true, errors.Join(failed...)
		}
		if err := s.speaker.remove(ctx, p); err != nil {
			failed = append(failed, err)
			continue
		}
		s.routes.DeleteActual(p)
	}
	var homeless Families
	for p, r := range s.routes.PendingUpdates() {
		if s.urgent.Load() {
			return true, errors.Join(failed...)
		}
		family := familyOf(p.Addr())
		if !r.Value().nextHop.IsValid() {
			homeless |= family
			continue
		}
		if err := s.speaker.add(ctx, p, s.encode(r, family)); err != nil {
			failed = append(failed, err)
			continue
		}
		s.routes.SetActual(p, r)
	}
	if homeless != 0 {
		failed = append(failed, fmt.Errorf("routes of %s are not advertised: there is no address of that family "+
			"on the interface that leads to the peer", homeless))
	}
	return false, errors.Join(failed...)
}

// unspoken returns what is wrong if there are routes of a family that the peer does not
// take. They wait in the table.
func (s *session) unspoken() error {
	s.mu.Lock()
	missing := s.peer.Families &^ s.status.Families
	established := s.status.State == Established
	s.mu.Unlock()
	if !established || missing == 0 {
		return nil
	}
	for p := range s.routes.AllDesired() {
		if missing.Has(familyOf(p.Addr())) {
			return fmt.Errorf("routes of %s are not advertised: the peer has no capability for it", missing)
		}
	}
	return nil
}

// encode returns the attributes of a route, from memory if it can.
func (s *session) encode(r route, family Families) [][]byte {
	const enough = 1024
	key := encodingKey{r, family}
	list, ok := s.encoded[key]
	if !ok {
		if len(s.encoded) >= enough {
			clear(s.encoded)
		}
		a := r.Value()
		list = encodeAttributes(&a, family, s.peer.internal())
		s.encoded[key] = list
	}
	return list
}
