// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/memberlist"

	"github.com/herald-lb/herald/internal/lb"
)

// messageRoom is how many messages may wait for whoever reads them. What does not fit
// is lost, as any datagram may be.
const messageRoom = 1024

// Kinds of messages between speakers: the first byte of each.
const (
	kindTold    = 't'
	kindLeaving = 'l' // the speaker of that name takes its leave
)

// Tell sends a short message to all speakers that have been members since Run began,
// also to those that seem dead, in a datagram each: at once, and without a promise that
// it arrives. It keeps nothing of b.
func (m *Members) Tell(b []byte) { m.send(append([]byte{kindTold}, b...)) }

// takeLeave says that this speaker goes in good order, before it does. memberlist knows that
// of others and does not say so: of the node that it passes to NotifyLeave, State is never
// set. One of two datagrams may be lost.
func (m *Members) takeLeave() {
	for range 2 {
		m.send(append([]byte{kindLeaving}, m.config.Node...))
	}
}

// hearLeave takes note that a speaker takes its leave.
func (m *Members) hearLeave(name lb.NodeName) {
	m.mu.Lock()
	_, known := m.known[name]
	if known {
		m.left[name] = struct{}{}
	}
	m.mu.Unlock()
	if known {
		ring(m.changed) // memberlist may have been first
	}
}

func (m *Members) send(message []byte) {
	list := m.list.Load()
	if list == nil {
		return
	}
	for name, address := range m.knownAddresses() {
		if err := list.SendToAddress(memberlist.Address{Addr: address, Name: string(name)}, message); err != nil {
			m.log.Debug("message not sent", lb.LogKeyMember, name, lb.LogKeyError, err)
		}
	}
}

// Told has the messages that others have told.
func (m *Members) Told() <-chan []byte { return m.told }

// Left says of a speaker that is not alive whether it has taken its leave: it is not dead,
// and goes on answering until others do.
func (m *Members) Left(name lb.NodeName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, left := m.left[name]
	return left
}

// Seek asks a peer now that seems dead and has been seen alive by other means. It does
// not block.
func (m *Members) Seek(name lb.NodeName) {
	select {
	case m.sought <- name:
	default: // it will be asked in its turn
	}
}

// knownAddresses returns where the members are reached that have been seen.
func (m *Members) knownAddresses() map[lb.NodeName]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.known)
}

// addressOf is where a member is reached.
func addressOf(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

// messages is memberlist's Delegate: what travels besides membership. memberlist calls
// its methods from several goroutines, and they must not block.
type messages struct{ members *Members }

var _ memberlist.Delegate = messages{}

// NotifyMsg takes a message.
func (d messages) NotifyMsg(b []byte) {
	if len(b) == 0 {
		return
	}
	switch b[0] {
	case kindFact:
		d.members.hearRumour(b)
	case kindLeaving:
		d.members.hearLeave(lb.NodeName(b[1:]))
	case kindTold:
		select {
		case d.members.told <- slices.Clone(b[1:]):
		default:
		}
	}
}

// NodeMeta has nothing to add to membership.
func (d messages) NodeMeta(int) []byte { return nil }

// GetBroadcasts has the facts that are to be spread.
func (d messages) GetBroadcasts(overhead, limit int) [][]byte {
	return d.members.rumours.GetBroadcasts(overhead, limit)
}

// LocalState adds all facts to a full exchange.
func (d messages) LocalState(bool) []byte { return d.members.everything() }

// MergeRemoteState takes the facts from a full exchange.
func (d messages) MergeRemoteState(b []byte, _ bool) {
	d.members.hear(parseStatements(b))
	d.members.noteExchange()
}
