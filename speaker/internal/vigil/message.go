// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"encoding/binary"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// kindReady says that By answers for all addresses that are its own. The other kinds are
// those of package suspect.
const kindReady = suspect.Kind('r')

const (
	// copies of each message are sent at once: one may be lost.
	copies = 2
	// readyRoom is how many speakers may be ready that nobody has asked about yet.
	readyRoom = 256
)

// encode writes a message: its kind, its number, and two names with their lengths. The
// numbers of a speaker grow.
func encode(k suspect.Kind, node, by lb.NodeName, number uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(k)}, number)
	for _, name := range []lb.NodeName{node, by} {
		b = append(b, byte(len(name))) // names of nodes have 253 bytes at most
		b = append(b, name...)
	}
	return b
}

// decode reads a message.
func decode(b []byte) (m suspect.Message, number uint64, ok bool) {
	const head = 1 + 8
	if len(b) < head {
		return m, 0, false
	}
	m.Kind, number = suspect.Kind(b[0]), binary.BigEndian.Uint64(b[1:])
	rest := b[head:]
	for _, name := range []*lb.NodeName{&m.Node, &m.By} {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return m, 0, false
		}
		*name, rest = lb.NodeName(rest[1:1+int(rest[0])]), rest[1+int(rest[0]):]
	}
	return m, number, m.Node != "" && m.By != ""
}

// number is the number of the next message. They grow, also across restarts.
func (v *Vigil) number() uint64 { return v.told.Add(1) }

func (v *Vigil) tell(b []byte) {
	for range copies {
		v.Gossip.Tell(b)
	}
}

// topic is what a speaker talks about. Of one topic only the latest word counts, but the
// messages of a speaker do not all supersede each other: datagrams overtake each other, and
// memberlist hands over the latest first of those that wait.
type topic struct {
	by, about lb.NodeName
	ready     bool
}

// take takes a message of another speaker, unless that or a later one on the topic has been
// taken.
func (v *Vigil) take(b []byte) (suspect.Message, bool) {
	m, number, ok := decode(b)
	t := topic{m.By, m.Node, m.Kind == kindReady}
	if !ok || m.By == v.Node || number <= v.heard[t] {
		return m, false
	}
	v.heard[t] = number
	return m, true
}
