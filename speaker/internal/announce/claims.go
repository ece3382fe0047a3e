// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// lossesTogether is how long after a loss of members another one counts as of the same
// cause: a node that is cut off loses the others one by one.
const lossesTogether = 5 * time.Second

// outbidTime is how long claims that count less than another's are kept: until everybody
// has heard of the other. If the end of a claim were heard of before what has come in its
// place, an address would seem to be nobody's.
const outbidTime = 5 * time.Second

// claims are what this node claims at the end of a round, and with which weight. They
// belong to the goroutine of Run.
type claims struct {
	taken, given []netip.Addr
	// seen are the members that have ever been.
	seen map[lb.NodeName]struct{}
	// linked says that an interface is up that announces.
	linked bool
	// full says that claims count in full; firm that doubts have been waited for.
	full, firm bool
	// strayed says that this node has been without a majority that it had.
	strayed bool
	// lost is when members were lost last, before the term that was until then.
	lost   time.Time
	before uint32
	// recheck ends a wait, for what others may have to say.
	recheck *time.Timer
	// outbid are the claims that were when tidy was set.
	outbid map[netip.Addr]struct{}
	tidy   *time.Timer // nil unless addresses have gone to other nodes
}

func newClaims() claims {
	c := claims{seen: make(map[lb.NodeName]struct{}), recheck: time.NewTimer(reunionTime)}
	c.recheck.Stop()
	return c
}

// claimants returns the nodes of which the first is to have the address that may: under
// failback Immediate the one that it is held for, then the one whose claim counts. They
// are empty if the owner follows from the election.
func (l *Loop) claimants(a netip.Addr) (home, holder lb.NodeName) {
	return l.claimantsAmong(a, l.members)
}

// claimantsAmong is claimants if only those nodes are alive. Under failback Immediate a
// claim that counts less stays without effect when the node is gone whose claim counts: it
// is about to be given up, and not everybody knows the moment.
func (l *Loop) claimantsAmong(a netip.Addr, alive map[lb.NodeName]struct{}) (home, holder lb.NodeName) {
	switch {
	case l.Facts == nil:
		return "", ""
	case l.Failback == Never:
		_, holder = l.Facts.claimants(a, alive)
		return holder, holder
	}
	return l.Facts.claimants(a, nil)
}

// claimLater takes note of a verdict: to announce an address here, or not to.
func (l *Loop) claimLater(a netip.Addr, v *plan.Verdict) {
	c := &l.claims
	switch {
	case l.Facts == nil:
	case v.Announce:
		c.taken = append(c.taken, a)
	case len(v.Decisions) == 0 || v.Owner == l.Node:
		c.given = append(c.given, a)
	case c.tidy == nil && l.Facts.claimed(a):
		c.outbid, c.tidy = nil, time.NewTimer(outbidTime)
	}
}

// claimNow ends a round: what this node announces, it claims.
func (l *Loop) claimNow() {
	c := &l.claims
	if len(c.taken)+len(c.given) > 0 {
		taking := facts.Taking{Addresses: c.taken, Weight: c.weight(), Hold: l.Failback == Immediate}
		said, doubt := l.Facts.claim(taking, c.given)
		l.say(said)
		if doubt {
			c.recheck.Reset(reunionTime)
		}
	}
	c.taken, c.given, c.firm = nil, nil, false
}

// welcome leaves to newcomers what is due to them, if this node has a majority: without
// one it may be the newcomer itself.
func (l *Loop) welcome() {
	if l.Facts == nil || l.Failback != Immediate || !l.claims.full {
		return
	}
	defer l.ownership.Welcome()
	if l.claims.strayed { // the others have not come, it has come back
		l.claims.strayed = false
		return
	}
	due := l.ownership.Due(l.Node)
	for home, addresses := range due.To {
		l.say(l.Facts.rehome(addresses, home))
	}
	if len(due.Free) > 0 {
		said, _ := l.Facts.claim(facts.Taking{}, due.Free)
		l.say(said)
	}
}

// tidied has the timer of claims that are outbid; nil if there are none.
func (c *claims) tidied() <-chan time.Time {
	if c.tidy == nil {
		return nil
	}
	return c.tidy.C
}

// tidyUp gives up the claims that have been outbid for a while.
func (l *Loop) tidyUp() {
	c := &l.claims
	now := l.Facts.outbid(l.members)
	for a := range c.outbid {
		if _, still := now[a]; still {
			c.given = append(c.given, a)
			delete(now, a)
		}
	}
	if c.outbid, c.tidy = now, nil; len(now) > 0 {
		c.tidy = time.NewTimer(outbidTime)
	}
}

func (c *claims) weight() facts.Weight {
	switch {
	case !c.full:
		return facts.Minor
	case !c.firm:
		return facts.Full
	}
	return facts.Firm
}

// noteMembers takes note of the members of a new view: the first, or one that so many have
// gone from since the last.
func (l *Loop) noteMembers(first bool, gone int) {
	if l.Facts == nil {
		return
	}
	c := &l.claims
	for node := range l.members {
		c.seen[node] = struct{}{}
	}
	if first { // it has just heard from the others what they claim
		c.full = l.majority()
		return
	}
	if now := time.Now(); gone > 0 {
		if now.Sub(c.lost) > lossesTogether {
			c.before = l.Facts.term()
		}
		c.lost = now
	}
	l.weigh()
	if c.full {
		l.Facts.bury(gone)
	}
}

// noteLinks takes note whether this node can be heard at all.
func (l *Loop) noteLinks(interfaces []layer2.Interface) {
	l.claims.linked = false
	for _, i := range interfaces {
		l.claims.linked = l.claims.linked || i.Up && announcesWhenUp(i)
	}
	if l.Facts != nil && l.members != nil {
		l.weigh()
	}
}

// weigh decides how much the claims of this node count. Without a majority they are minor,
// and so becomes what it took over on the way there, when it had lost some of the others
// and not yet most of them. With a majority they count in full again after a while, when
// it has heard what the others have taken over.
func (l *Loop) weigh() {
	c := &l.claims
	switch most := l.majority(); {
	case most && !c.full:
		c.recheck.Reset(reunionTime)
	case !most && c.full:
		c.full, c.strayed = false, true
		if time.Since(c.lost) <= lossesTogether {
			l.say(l.Facts.demote(c.before))
		}
	}
}

// reweigh ends the wait for what others have to say: all that this node has is claimed
// for good.
func (l *Loop) reweigh() {
	c := &l.claims
	c.full = l.majority()
	c.firm, l.stale = c.full, l.stale || c.full
}

// majority says whether at least half of the speakers are alive that have ever been, as
// far as their nodes still exist. Whoever sees fewer may be the one that is cut off, and
// so may one that has no link, or has never seen anybody.
func (l *Loop) majority() bool {
	c, known := &l.claims, 0
	for i := range l.nodes {
		if _, ok := c.seen[l.nodes[i].Name]; ok {
			known++
		}
	}
	alone := known <= 1 && len(l.nodes) > 1
	return c.linked && !alone && 2*len(l.members) >= known
}
