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
const kindTold = 't'

// Tell sends a short message to all speakers that have been members since Run began,
// also to those that seem dead, in a datagram each: at once, and without a promise that
// it arrives. It keeps nothing of b.
func (m *Members) Tell(b []byte) {
	list := m.list.Load()
	if list == nil {
		return
	}
	message := append([]byte{kindTold}, b...)
	for name, address := range m.knownAddresses() {
		if err := list.SendToAddress(memberlist.Address{Addr: address, Name: string(name)}, message); err != nil {
			m.log.Debug("message not sent", lb.LogKeyMember, name, lb.LogKeyError, err)
		}
	}
}

// Told has the messages that others have told.
func (m *Members) Told() <-chan []byte { return m.told }

// Left says whether the speaker took its leave when it ceased to be a member: it is
// not dead, and goes on answering until others do.
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
	if len(b) > 0 && b[0] == kindFact {
		d.members.hearRumour(b)
		return
	}
	if len(b) == 0 || b[0] != kindTold {
		return
	}
	select {
	case d.members.told <- slices.Clone(b[1:]):
	default:
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
