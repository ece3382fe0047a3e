// SPDX-License-Identifier: Apache-2.0

package suspect

import "github.com/herald-lb/herald/internal/lb"

// Output is what is to be done, all of it at once.
type Output struct {
	// Changed says that Present differs.
	Changed bool
	// Ask are the suspects to ask about on the LAN. Each wants one call of Answered.
	Ask []lb.NodeName
	// Tell is what to tell the other speakers.
	Tell []Message
	// Seek are speakers that live and that gossip takes for dead.
	Seek []lb.NodeName
	// Resume says to answer again after having been late.
	Resume bool
	// Renew says to announce again all that is announced, and that others who have done
	// so may stop.
	Renew bool
	// Notes are for the log.
	Notes []Note
}

// Take returns what is to be done since the last call.
func (m *Machine) Take() Output {
	o := m.out
	m.out = Output{}
	return o
}

// Kind is what a Message says.
type Kind byte

// The kinds of messages. Their values travel.
const (
	Suspect Kind = 's' // the node has fallen silent
	Gone    Kind = 'g' // By has taken over from the node
	Here    Kind = 'h' // the node is there
	Back    Kind = 'b' // the node is there, and By had taken over from it, or believed so
)

// Message is what a speaker says about another, or about itself.
type Message struct {
	Kind Kind
	Node lb.NodeName
	By   lb.NodeName
}

// Answer is what the LAN says when it is asked for what a suspect announces.
type Answer uint8

// The answers. The zero value is that there was no way to ask.
const (
	Unable           Answer = iota
	Nobody                  // nobody answers
	Somebody                // the suspect, or another in its place
	NothingToInherit        // there is nothing to ask for: others are its heirs
)

// Cause is why a speaker is suspected.
type Cause uint8

// The causes.
const (
	BySession Cause = iota // its BFD session has failed
	ByOthers               // another speaker says so
	ByGossip               // gossip takes it for dead
	causes
)

// String is the cause as logs and metrics have it.
func (c Cause) String() string {
	switch c {
	case BySession:
		return "bfd"
	case ByOthers:
		return "told"
	case ByGossip:
		return "gossip"
	case causes:
	}
	return "unknown"
}

// Event is what became of a suspicion.
type Event uint8

// The events. Suspicions end in one of Confirmed, Cleared, or not at all; Refuted and
// Alone are answers after which a suspect is asked about again.
const (
	Suspected Event = iota // a speaker has fallen silent
	Confirmed              // nobody answers in its place: it is gone
	Refuted                // somebody answers on the LAN
	Cleared                // it was heard of again
	Alone                  // nobody answers, but nobody else is heard either
	Returned               // it was gone and is back
	Doubted                // this process was late, and doubts itself
	Accused                // others have taken over from this speaker, which lives
	events
)

// String is the event as logs and metrics have it.
func (e Event) String() string {
	names := [...]string{"suspected", "confirmed", "refuted", "cleared", "alone", "returned", "self_doubt", "accused"}
	if int(e) < len(names) {
		return names[e]
	}
	return "unknown"
}

// Note is an event, for the log.
type Note struct {
	Event Event
	Node  lb.NodeName
	Cause Cause
}

// Counts are how often each event has happened, by cause.
type Counts [events][causes]uint64

// Counts returns the counts so far.
func (m *Machine) Counts() Counts { return m.counts }

// Each calls f for all counts, zeros included.
func (c *Counts) Each(f func(e Event, cause Cause, n uint64)) {
	for e := range c {
		for cause, n := range c[e] {
			f(Event(e), Cause(cause), n)
		}
	}
}

func (m *Machine) note(e Event, name lb.NodeName, cause Cause) {
	m.counts[e][cause]++
	m.out.Notes = append(m.out.Notes, Note{e, name, cause})
}

// noteOnce notes what the first question about a suspect came to: the next ones may
// come to the same for hours.
func (m *Machine) noteOnce(e Event, name lb.NodeName, n *node) {
	if n.pause == 0 {
		m.note(e, name, n.cause)
	}
}

func (m *Machine) tell(k Kind, about lb.NodeName) {
	m.out.Tell = append(m.out.Tell, Message{k, about, m.self})
}
