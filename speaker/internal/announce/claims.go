// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// lossesTogether is how long after a loss of members another one counts as of the same
// cause: a node that is cut off loses the others one by one.
const lossesTogether = 5 * time.Second

// claims are what this node claims at the end of a round, and with which weight. They
// belong to the goroutine of Run.
type claims struct {
	taken, given []netip.Addr
	// alive are the members of the view, nil before there is one; seen are those that
	// have ever been.
	alive, seen map[lb.NodeName]struct{}
	// linked says that an interface is up that announces.
	linked bool
	// full says that claims count in full; firm that doubts have been waited for.
	full, firm bool
	// lost is when members were lost last, before the term that was until then.
	lost   time.Time
	before uint32
	// recheck ends a wait, for what others may have to say.
	recheck *time.Timer
}

func newClaims() claims {
	c := claims{seen: make(map[lb.NodeName]struct{}), recheck: time.NewTimer(reunionTime)}
	c.recheck.Stop()
	return c
}

// claimant returns the node that is to keep the address; empty if that follows from the
// election.
func (l *Loop) claimant(a netip.Addr) lb.NodeName {
	if l.Facts == nil || l.Failback != Never {
		return ""
	}
	return l.Facts.claimant(a, l.claims.alive)
}

// claimLater takes note that a verdict says to announce an address here, or not to.
func (l *Loop) claimLater(a netip.Addr, announce bool) {
	switch {
	case l.Facts == nil || l.Failback != Never:
	case announce:
		l.claims.taken = append(l.claims.taken, a)
	default:
		l.claims.given = append(l.claims.given, a)
	}
}

// claimNow ends a round: what this node announces, it claims.
func (l *Loop) claimNow() {
	c := &l.claims
	if len(c.taken)+len(c.given) > 0 {
		said, doubt := l.Facts.claim(c.taken, c.given, c.weight())
		l.say(said)
		if doubt {
			c.recheck.Reset(reunionTime)
		}
	}
	c.taken, c.given, c.firm = nil, nil, false
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

// noteMembers takes over the members of a new view.
func (l *Loop) noteMembers(alive map[lb.NodeName]struct{}) {
	if l.Facts == nil {
		return
	}
	c, gone := &l.claims, 0
	for node := range c.alive {
		if _, ok := alive[node]; !ok {
			gone++
		}
	}
	first := c.alive == nil
	c.alive = alive
	for node := range alive {
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
	if l.claims.alive != nil {
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
		c.full = false
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
	return c.linked && !alone && 2*len(c.alive) >= known
}
