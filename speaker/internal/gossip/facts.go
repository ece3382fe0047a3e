// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

// Facts are what speakers say about themselves. announce.Facts are some. The methods are
// called by memberlist and must not block.
type Facts interface {
	// Everything returns what is known of everybody.
	Everything() []facts.Statement
	// Hear takes note of what others have said or passed on.
	Hear([]facts.Statement)
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

// newRumours returns the queue of rumours. Each is sent often enough to reach everybody.
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

// hear takes what has arrived.
func (m *Members) hear(statements []facts.Statement, err error) {
	if err != nil {
		m.log.Warn("facts not understood; are all speakers of the same release?", lb.LogKeyError, err)
	}
	if m.config.Facts != nil && len(statements) > 0 {
		m.config.Facts.Hear(statements)
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

// greet has this member exchange everything with one that has come or come back, if it is
// one of those next to it by name: rumours from before it will not hear.
func (m *Members) greet(name lb.NodeName) {
	if m.config.Facts == nil {
		return
	}
	m.mu.Lock()
	names := make([]lb.NodeName, 0, len(m.alive))
	for n := range m.alive {
		if n != name {
			names = append(names, n)
		}
	}
	m.mu.Unlock()
	slices.Sort(names)
	first, _ := slices.BinarySearch(names, name)
	for i := range min(exchanges, len(names)) {
		if names[(first+i)%len(names)] == m.config.Node {
			select {
			case m.greeted <- name:
			default: // it hears of it within half a minute
			}
		}
	}
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
