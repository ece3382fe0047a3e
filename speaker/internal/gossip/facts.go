// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

// Facts are what speakers say about themselves. announce.Facts are some. The methods are
// called by memberlist and must not block.
type Facts interface {
	// Everything returns what is known of everybody.
	Everything() []facts.Statement
	// Hear takes note of what others have said or passed on, and says whether there is a
	// change in it that has not been heard of.
	Hear([]facts.Statement) (fresh bool)
	// Fingerprint is a number that members have in common which know the same. It does not
	// wait for the other methods.
	Fingerprint() uint64
}

// kindFact is the first byte of a rumour: see message.go for other kinds.
const kindFact = 'f'

// exchanges is how many members tell a new one everything: one would do, but may be cut
// off itself.
const exchanges = 2

// Say spreads a statement to all members as a rumour. It may be lost; those who miss it
// hear of it when they exchange everything. Say does not block.
func (m *Members) Say(s facts.Statement) {
	m.rumours.QueueBroadcast(rumour(appendStatement([]byte{kindFact}, s)))
}

// rumour is a statement on its way, in memberlist's terms.
type rumour []byte

func (rumour) Invalidates(memberlist.Broadcast) bool { return false }
func (r rumour) Message() []byte                     { return r }
func (rumour) Finished()                             {}

// newRumours returns the queue of rumours. Everybody sends each a few times, which is enough
// to reach everybody.
func newRumours(m *Members) *memberlist.TransmitLimitedQueue {
	return &memberlist.TransmitLimitedQueue{
		RetransmitMult: memberlist.DefaultLANConfig().RetransmitMult,
		NumNodes: func() int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.alive)
		},
	}
}

// hear takes what has arrived, and says whether others should hear it, too.
func (m *Members) hear(statements []facts.Statement, err error) (fresh bool) {
	if err != nil {
		m.log.Warn("facts not understood; are all speakers of the same release?", lb.LogKeyError, err)
	}
	return m.config.Facts != nil && len(statements) > 0 && m.config.Facts.Hear(statements)
}

// hearRumour takes a statement that somebody passes on, and passes it on.
func (m *Members) hearRumour(b []byte) {
	s, err := parseStatement(b[1:])
	if err != nil {
		m.hear(nil, err)
		return
	}
	if m.hear([]facts.Statement{s}, nil) {
		m.rumours.QueueBroadcast(rumour(slices.Clone(b)))
	}
}

// noteExchange takes note that this member knows the facts that others know.
func (m *Members) noteExchange() {
	m.mu.Lock()
	m.exchanged = true
	m.mu.Unlock()
	ring(m.moved)
}

// informed says whether this member knows what others claim, if there are others. One
// that does not would take back what is no longer its own.
func (m *Members) informed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.config.Facts == nil || m.exchanged || len(m.alive) == 1
}

// everything returns all statements in the form of a full exchange.
func (m *Members) everything() []byte {
	if m.config.Facts == nil {
		return nil
	}
	return appendStatements(nil, m.config.Facts.Everything())
}

// greet has this member exchange everything with one that has come or come back, because
// rumours from before only one of the two has heard: if it is one of those next to the
// other by name, or if it is this member that was away from most.
func (m *Members) greet(name lb.NodeName) {
	if m.config.Facts == nil || !m.wasAway() && !m.isNextTo(name) {
		return
	}
	select {
	case m.greeted <- name:
	default: // it hears of it within half a minute
	}
}

// repairPace is the least time between two exchanges because of a difference.
const repairPace = 500 * time.Millisecond

// comparison is what a member remembers between two probes.
type comparison struct {
	own      uint64 // its fingerprint at the last probe
	repaired time.Time
}

// compare has this member exchange everything with one that knows something else, unless
// news has just arrived here: then it is on its way there, too. What is on its way by
// rumour is lost to a member that is cut off for a moment, and nobody takes its death for
// granted, or greets it when it is back.
func (m *Members) compare(name lb.NodeName, theirs uint64) {
	own, now := m.config.Facts.Fingerprint(), time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.compared
	m.compared.own = own
	if own == theirs || own != was.own || now.Sub(was.repaired) < repairPace {
		return
	}
	m.compared.repaired = now
	select {
	case m.greeted <- name:
	default: // the next probe finds it, too
	}
}

// probes is memberlist's PingDelegate: each answer to a probe carries a fingerprint of the
// facts that the probed member knows.
type probes struct{ members *Members }

var _ memberlist.PingDelegate = probes{}

// AckPayload returns this member's fingerprint.
func (p probes) AckPayload() []byte {
	return binary.BigEndian.AppendUint64(nil, p.members.config.Facts.Fingerprint())
}

// NotifyPingComplete takes another's.
func (p probes) NotifyPingComplete(other *memberlist.Node, _ time.Duration, payload []byte) {
	if len(payload) == 8 {
		p.members.compare(lb.NodeName(other.Name), binary.BigEndian.Uint64(payload))
	}
}

// wasAway says whether this member sees no more than half of those it has seen.
func (m *Members) wasAway() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 2*len(m.alive) <= len(m.known)+1 // itself is not among those known
}

// isNextTo says whether this member is one of the first alive after another by name.
func (m *Members) isNextTo(name lb.NodeName) bool {
	m.mu.Lock()
	names := slices.Collect(maps.Keys(m.alive))
	m.mu.Unlock()
	names = slices.DeleteFunc(names, func(n lb.NodeName) bool { return n == name })
	slices.Sort(names)
	first, _ := slices.BinarySearch(names, name)
	for i := range min(exchanges, len(names)) {
		if names[(first+i)%len(names)] == m.config.Node {
			return true
		}
	}
	return false
}

var errTruncated = errors.New("the message is truncated")

// appendStatements appends each statement with its length in front.
func appendStatements(dst []byte, statements []facts.Statement) []byte {
	for _, s := range statements {
		b := appendStatement(nil, s)
		dst = appendUint(dst, uint64(len(b)))
		dst = append(dst, b...)
	}
	return dst
}

// parseStatements returns those that can be read, and what is wrong with the first other.
func parseStatements(b []byte) (statements []facts.Statement, err error) {
	for len(b) > 0 {
		r := reader{b: b}
		one := r.bytes(r.uint())
		if r.err != nil {
			return statements, errors.Join(err, r.err)
		}
		b = r.b
		s, oneErr := parseStatement(one)
		if oneErr != nil {
			err = fmt.Errorf("read a statement: %w", oneErr)
			continue
		}
		statements = append(statements, s)
	}
	return statements, err
}
