// SPDX-License-Identifier: Apache-2.0

package suspect

import (
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// firstPause and lastPause are the time between two questions about a suspect that
	// is neither back nor gone.
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
	// lateGrace is how long a session may take to come up again that went down while
	// this process was late.
	lateGrace = 60 * time.Millisecond
	// vouched is how long another speaker's word counts for one that gossip takes for
	// dead.
	vouched = 3 * time.Second
	// composure is how long a speaker that was late listens before it answers again.
	composure = 60 * time.Millisecond
)

// standing is what another speaker is to this one.
type standing uint8

const (
	absent    standing = iota // never seen, or it has taken its leave
	trusted                   // present
	suspected                 // silent, but present until the LAN has confirmed
	gone                      // its addresses are others' now
)

// node is another speaker.
type node struct {
	standing standing
	cause    Cause // of the suspicion
	member   bool  // gossip counts it among the living
	session  bool  // the BFD session is up
	watched  bool  // there has been one
	asking   bool  // an answer is awaited
	lonely   bool  // the last answer was none from anybody at all
	toldGone bool  // another has taken over from it
	// silence is since when it is suspected, seconded when another said so last.
	silence, seconded time.Time
	// due is when to ask again, review when to look at it again: zero is never.
	due, review time.Time
	pause       time.Duration
}

func (n *node) present() bool { return n.standing == trusted || n.standing == suspected }

// Machine keeps the standing of all speakers. It is not safe for concurrent use. The
// time passed in never goes back.
type Machine struct {
	self  lb.NodeName
	nodes map[lb.NodeName]*node
	// resume is when this speaker answers again after it was late; zero: it does.
	resume time.Time
	// replaced means that others have taken over from this speaker.
	replaced bool
	counts   Counts
	out      Output
}

// New returns a machine that knows of nobody else.
func New(self lb.NodeName) *Machine {
	return &Machine{self: self, nodes: make(map[lb.NodeName]*node)}
}

// Present returns the speakers that count, this one included, in a map of the caller's
// own.
func (m *Machine) Present() map[lb.NodeName]struct{} {
	present := map[lb.NodeName]struct{}{m.self: {}}
	for name, n := range m.nodes {
		if n.present() {
			present[name] = struct{}{}
		}
	}
	return present
}

// Members takes what gossip knows: who is alive, and of the others, who has left in
// good order. Who left is gone without a question.
func (m *Machine) Members(alive map[lb.NodeName]struct{}, left func(lb.NodeName) bool, now time.Time) {
	for name := range alive {
		if name == m.self {
			continue
		}
		n := m.nodes[name]
		if n == nil {
			n = new(node)
			m.nodes[name] = n
		}
		if !n.member {
			n.member = true
			if n.standing == gone {
				m.tell(Back, name)
			}
			m.trust(name, n)
		}
	}
	for name, n := range m.nodes {
		if _, ok := alive[name]; ok {
			continue
		}
		was := n.member
		n.member = false
		switch {
		case (was || n.present()) && left(name):
			*n = node{watched: n.watched, session: n.session}
			m.out.Changed = true
		case !was:
		case n.session: // gossip errs: we hear it
			m.out.Seek = append(m.out.Seek, name)
		case n.standing == trusted:
			m.suspect(name, n, ByGossip, now)
		case n.standing == suspected && !n.asking:
			m.ask(name, n)
		}
	}
}

// Up takes that the BFD session with a speaker is up: it is there, whatever others say.
func (m *Machine) Up(name lb.NodeName) {
	n := m.nodes[name]
	if n == nil {
		return // gossip will introduce it
	}
	n.session, n.watched = true, true
	switch n.standing {
	case absent, trusted:
		return
	case suspected:
		m.tell(Here, name)
	case gone:
		m.tell(Back, name)
	}
	if !n.member {
		m.out.Seek = append(m.out.Seek, name)
	}
	m.trust(name, n)
}

// Down takes that the BFD session with a speaker is over. Silent means that nothing was
// heard for the Detection Time; otherwise the speaker has said so itself, and lives.
// Late means that the silence may be our own fault.
func (m *Machine) Down(name lb.NodeName, silent, late bool, now time.Time) {
	n := m.nodes[name]
	if n == nil {
		return
	}
	n.session = false
	switch {
	case silent && n.standing == suspected && n.toldGone:
		m.bury(n, now)
	case !silent && n.standing == trusted && !n.member:
		m.suspect(name, n, ByGossip, now) // it ends, and its farewell was lost
	case !silent || n.standing != trusted:
	case late:
		m.note(Doubted, name, BySession)
		n.review = now.Add(lateGrace)
	default:
		m.suspect(name, n, BySession, now)
		m.tell(Suspect, name)
	}
}

// Told takes what another speaker says. Fresh says that the speaker it is about was heard
// of here within an interval: then we know better.
func (m *Machine) Told(t Message, fresh bool, now time.Time) {
	if t.By == m.self {
		return
	}
	if t.Node == m.self {
		m.toldOfSelf(t)
		return
	}
	n := m.nodes[t.Node]
	if n == nil || fresh && (t.Kind == Suspect || t.Kind == Gone) {
		return
	}
	switch t.Kind {
	case Suspect:
		n.seconded = now
	case Gone:
		n.seconded, n.toldGone = now, true
	case Here, Back:
		m.vouch(t.Node, n, now)
		return
	}
	switch {
	case n.standing == trusted:
		m.suspect(t.Node, n, ByOthers, now)
	case n.standing == suspected && n.toldGone && n.watched && !n.session:
		// Silent for us, silent for another, and nobody answers: another question would
		// cost time, and be answered by those that have taken over already.
		m.bury(n, now)
	case n.standing == suspected && n.toldGone && !n.asking:
		m.ask(t.Node, n)
	}
}

// toldOfSelf contradicts. That we are suspected is no matter: the LAN will tell.
func (m *Machine) toldOfSelf(t Message) {
	if t.Kind == Suspect || t.Kind == Here {
		return
	}
	if t.Kind == Gone {
		m.note(Accused, m.self, ByOthers)
		m.replaced = true
	}
	if m.resume.IsZero() {
		m.stepForward(t.Kind == Gone)
		return
	}
	m.replaced = true // Resume will see to it
}

// stepForward makes it known that this speaker is there.
func (m *Machine) stepForward(contradict bool) {
	if contradict {
		m.tell(Here, m.self)
	}
	m.replaced = false
	m.out.Renew = true
}

// vouch takes another's word that a speaker is there.
func (m *Machine) vouch(name lb.NodeName, n *node, now time.Time) {
	if n.standing != suspected && n.standing != gone {
		return
	}
	m.trust(name, n)
	if !n.member {
		n.review = now.Add(vouched)
		m.out.Seek = append(m.out.Seek, name)
	}
}

// Answered takes the answer to a question about a speaker. Company says whether anybody
// else was heard since it fell silent.
func (m *Machine) Answered(name lb.NodeName, a Answer, company bool, now time.Time) {
	n := m.nodes[name]
	if n == nil || !n.asking {
		return
	}
	n.asking, n.lonely = false, false
	if n.standing != suspected {
		return
	}
	switch a {
	case Nobody:
		if !company && m.alone(name, n, now) {
			m.noteOnce(Alone, name, n)
			n.lonely = true
			break
		}
		m.note(Confirmed, name, n.cause)
		m.tell(Gone, name)
		m.bury(n, now)
		return
	case NothingToInherit:
		if (n.toldGone || !n.member) && (company || !m.alone(name, n, now)) {
			m.bury(n, now)
			return
		}
		if !n.watched { // gossip is content
			m.trust(name, n)
			return
		}
	case Somebody:
		m.noteOnce(Refuted, name, n)
		if n.member && (!n.watched || n.session) {
			m.trust(name, n)
			return
		}
	case Unable:
	}
	n.pause = min(max(2*n.pause, firstPause), lastPause)
	n.due = now.Add(n.pause)
}

// alone says whether this speaker may be the one that is cut off: there should be
// others to be heard, and they are not.
func (m *Machine) alone(name lb.NodeName, n *node, now time.Time) bool {
	if now.Sub(n.seconded) < vouched && !n.seconded.IsZero() {
		return false
	}
	others, watched := false, false
	member := false
	for other, o := range m.nodes {
		if other == name || o.standing == absent {
			continue
		}
		others = true
		watched = watched || o.watched
		member = member || o.member
	}
	if !watched && !n.watched && member {
		return false // without BFD, gossip with others is company
	}
	return others
}

// bury ends the presence of a suspect. Others may have been its heirs, and fall to us.
func (m *Machine) bury(n *node, now time.Time) {
	n.standing, n.due = gone, time.Time{}
	m.out.Changed = true
	for _, o := range m.nodes {
		if o.standing == suspected && !o.asking {
			o.due = now
		}
	}
}

// Late takes that this process has been late by more than its lease: it has fallen
// silent, and listens before it goes on.
func (m *Machine) Late(now time.Time) {
	m.note(Doubted, m.self, BySession)
	m.resume = now.Add(composure)
}

// Advance does what is due.
func (m *Machine) Advance(now time.Time) {
	if !m.resume.IsZero() && !m.resume.After(now) {
		m.resume = time.Time{}
		m.out.Resume = true
		if m.replaced {
			m.stepForward(true)
		}
	}
	for name, n := range m.nodes {
		if !n.review.IsZero() && !n.review.After(now) {
			n.review = time.Time{}
			m.reconsider(name, n, now)
		}
		if !n.due.IsZero() && !n.due.After(now) && n.standing == suspected && !n.asking {
			m.ask(name, n)
		}
	}
}

// reconsider looks again at a speaker that was given time.
func (m *Machine) reconsider(name lb.NodeName, n *node, now time.Time) {
	if n.standing != trusted || n.session {
		return
	}
	if !n.member {
		m.suspect(name, n, ByGossip, now)
		return
	}
	m.suspect(name, n, BySession, now)
	m.tell(Suspect, name)
}

// Next is when Advance wants to be called; zero: only after another event.
func (m *Machine) Next() time.Time {
	next := m.resume
	for _, n := range m.nodes {
		next = earliest(earliest(next, n.due), n.review)
	}
	return next
}

// earliest returns the earlier time; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (m *Machine) suspect(name lb.NodeName, n *node, cause Cause, now time.Time) {
	n.standing, n.cause, n.silence, n.pause = suspected, cause, now, 0
	m.note(Suspected, name, cause)
	m.ask(name, n)
}

func (m *Machine) ask(name lb.NodeName, n *node) {
	n.asking, n.due = true, time.Time{}
	m.out.Ask = append(m.out.Ask, name)
}

// trust counts a speaker as present.
func (m *Machine) trust(name lb.NodeName, n *node) {
	switch n.standing {
	case gone:
		m.note(Returned, name, n.cause)
	case suspected:
		m.note(Cleared, name, n.cause)
	case absent, trusted:
	}
	m.out.Changed = m.out.Changed || !n.present()
	n.standing, n.toldGone = trusted, false
	n.due, n.review = time.Time{}, time.Time{}
}

// Lonely says whether, when a speaker was last asked about, nobody at all was heard: then
// the next question is worth more patience.
func (m *Machine) Lonely(name lb.NodeName) bool {
	n := m.nodes[name]
	return n != nil && n.lonely
}

// Doubting says whether this speaker was late and has not resumed.
func (m *Machine) Doubting() bool { return !m.resume.IsZero() }

// Only says whether no other speaker has ever been there.
func (m *Machine) Only() bool { return len(m.nodes) == 0 }
