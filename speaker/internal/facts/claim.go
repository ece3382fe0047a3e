// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// minor is the epoch of what is taken over without a majority.
	minor = 0
	// firstTerm is the term as long as nobody has gone.
	firstTerm = 1
)

// Claimant returns the node whose claim on the address counts among those that are alive,
// and in which epoch. Nil: everybody is.
func (b *Board) Claimant(a netip.Addr, alive map[lb.NodeName]struct{}) (node lb.NodeName, epoch uint32, ok bool) {
	r, e := b.top(a, alive)
	if r == nil {
		return "", 0, false
	}
	return r.node, e.epoch, true
}

// Tenure returns the same node, and the one that it holds the address for: itself, or one
// that was away when it took the address over. Empty: nobody claims it.
func (b *Board) Tenure(a netip.Addr, alive map[lb.NodeName]struct{}) (holder, home lb.NodeName) {
	r, e := b.top(a, alive)
	switch {
	case r == nil:
		return "", ""
	case e.home == 0:
		return r.node, r.node
	}
	return r.node, b.homes.of(e.home)
}

// top returns the claim that counts, and who makes it; nil if there is none.
func (b *Board) top(a netip.Addr, alive map[lb.NodeName]struct{}) (by *record, claim entry) {
	consider := func(r *record) {
		if _, is := alive[r.node]; alive != nil && !is {
			return
		}
		e := r.claims[a]
		if by == nil || e.epoch > claim.epoch || e.epoch == claim.epoch && r.node < by.node {
			by, claim = r, e
		}
	}
	if r := b.claimants[a]; r != nil {
		consider(r)
	}
	for _, r := range b.rivals[a] {
		consider(r)
	}
	return by, claim
}

// Claims counts what this node claims.
func (b *Board) Claims() int {
	own := b.records[b.self]
	return len(own.claims) - len(own.released)
}

// Claimed says whether this node claims the address, whether or not that counts.
func (b *Board) Claimed(a netip.Addr) bool {
	_, ok := b.own(a)
	return ok
}

// Term returns the latest term that has been heard of.
func (b *Board) Term() uint32 { return b.term }

// Bury takes note that so many speakers are gone: what is claimed from now on is claimed
// later than anything they can have claimed, heard of or not.
func (b *Board) Bury(gone int) {
	b.term += uint32(gone) // nodes of a cluster fit
}

// Weight is how much a node's claims count.
type Weight uint8

// The weights of claims.
const (
	// Minor claims count less than all others: whoever makes them may be cut off.
	Minor Weight = iota
	// Full claims count more than all that have been heard of, but for what others have
	// taken over from this node: they may be on their way back.
	Full
	// Firm claims count more than these, too.
	Firm
)

// Taking is what is claimed, and how.
type Taking struct {
	Addresses []netip.Addr
	Weight    Weight
	// Hold has addresses that were others' held for these: see Tenure.
	Hold bool
}

// Claim claims addresses for this node and gives others up. Those that are claimed
// already, or not at all, are left out. It returns what to tell the others, and whether
// addresses are left in doubt: others have taken them over, and are not there. They can be
// claimed with Firm weight.
func (b *Board) Claim(t Taking, given []netip.Addr) (said []Statement, doubt bool) {
	var claims []Claim
	for _, a := range t.Addresses {
		epoch, needed, doubtful := b.epochFor(a, t.Weight)
		doubt = doubt || doubtful
		if needed {
			claims = append(claims, Claim{Address: a, Epoch: epoch, Home: b.homeFor(a, t.Hold)})
		}
	}
	for _, a := range given {
		delete(b.former, a)
		if _, ok := b.own(a); ok {
			claims = append(claims, Claim{Address: a, Released: true})
		}
	}
	return b.sayClaims(claims), doubt
}

// homeFor returns the node that a new claim is to hold the address for.
func (b *Board) homeFor(a netip.Addr, hold bool) lb.NodeName {
	_, home := b.Tenure(a, nil)
	if home == "" {
		home = b.homes.of(b.former[a])
	}
	if !hold || home == b.self {
		return ""
	}
	return home
}

// epochFor returns the epoch of a new claim, if one is needed.
func (b *Board) epochFor(a netip.Addr, w Weight) (epoch uint32, needed, doubtful bool) {
	holder, latest, _ := b.Claimant(a, nil)
	own, claimed := b.own(a)
	switch {
	case w == Minor:
		return minor, !claimed, false
	case claimed && own > minor && holder == b.self:
		return 0, false, false
	case claimed && holder != b.self && w != Firm:
		return 0, false, true
	case holder == b.self:
		return b.term, true, false
	}
	return max(b.term, latest+1), true, false
}

// own returns the epoch in which this node claims the address, if it does.
func (b *Board) own(a netip.Addr) (epoch uint32, ok bool) {
	e, ok := b.records[b.self].claims[a]
	return e.epoch, ok && !e.released
}

// Demote makes those claims of this node minor that are later than a term. It returns
// what to tell the others.
func (b *Board) Demote(since uint32) []Statement {
	var claims []Claim
	for a, e := range b.records[b.self].claims {
		if !e.released && e.epoch > since {
			claims = append(claims, Claim{Address: a, Epoch: minor, Home: b.homes.of(e.home)})
		}
	}
	slices.SortFunc(claims, func(x, y Claim) int { return x.Address.Compare(y.Address) })
	return b.sayClaims(claims)
}

// Rehome has this node hold addresses that it claims for another node, from now on. It
// returns what to tell the others.
func (b *Board) Rehome(addresses []netip.Addr, home lb.NodeName) []Statement {
	var claims []Claim
	for _, a := range addresses {
		if epoch, ok := b.own(a); ok && home != b.self {
			claims = append(claims, Claim{Address: a, Epoch: epoch, Home: home})
		}
	}
	return b.sayClaims(claims)
}

// Outbid returns the addresses that this node claims, and another one that is alive with
// more weight.
func (b *Board) Outbid(alive map[lb.NodeName]struct{}) map[netip.Addr]struct{} {
	outbid := make(map[netip.Addr]struct{})
	for a, e := range b.records[b.self].claims {
		if holder, _, _ := b.Claimant(a, alive); !e.released && holder != b.self {
			outbid[a] = struct{}{}
		}
	}
	return outbid
}

func (b *Board) sayClaims(claims []Claim) []Statement {
	for _, c := range claims {
		b.term = max(b.term, c.Epoch)
	}
	var said []Statement
	for len(claims) > 0 {
		n := fitting(claims)
		s := b.say()
		s.Claims = claims[:n:n]
		said = append(said, s)
		for _, c := range s.Claims {
			b.set(b.records[b.self], c, s.Seq, new(News))
		}
		claims = claims[n:]
	}
	b.records[b.self].advance()
	return said
}

// fitting returns how many of the claims fit into one statement about changes.
func fitting(claims []Claim) int {
	homes := make(map[lb.NodeName]struct{})
	for i, c := range claims {
		if c.Home != "" {
			homes[c.Home] = struct{}{}
		}
		if i == claimsInStatement || len(homes) > homesInStatement {
			return i
		}
	}
	return len(claims)
}
