// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// paths has BFD sessions of no kind.
type paths struct{}

func (paths) Set(bfd.Path, bfd.Config) error          { return nil }
func (paths) Remove(bfd.Path)                         {}
func (paths) Status(bfd.Path) (s bfd.Status, ok bool) { return s, false }

// held is who is held.
type held map[bgp.PeerName]string

func (h held) Hold(name bgp.PeerName, reason string) { h[name] = reason }
func (h held) Release(name bgp.PeerName)             { delete(h, name) }

// A peer that says Down holds its session if it has missed us, and does not if it has only
// begun its BFD session anew, as FRR does when a neighbor of "bgp listen range" comes up.
func TestGuardOfSessionBegunAnew(t *testing.T) {
	path := bfd.Path{Peer: netip.MustParseAddr("10.9.0.1")}
	for _, c := range []struct {
		name         string
		local, peers bfd.Diagnostic
		want         int
	}{
		{"the peer has missed us", bfd.NeighborSignaledDown, bfd.ControlDetectionTimeExpired, 1},
		{"the peer has begun anew", bfd.NeighborSignaledDown, bfd.NoDiagnostic, 0},
		{"we have missed the peer", bfd.ControlDetectionTimeExpired, bfd.NoDiagnostic, 1},
	} {
		holder := held{}
		guards := announce.NewGuards(paths{}, holder, slog.New(slog.DiscardHandler))
		guards.Set(map[bgp.PeerName]announce.Guard{"left": {Path: path}})
		guards.OnChange(bfd.Change{Path: path, Previous: bfd.Up, Status: bfd.Status{
			State: bfd.Down, Diagnostic: c.local, RemoteState: bfd.Down, RemoteDiagnostic: c.peers,
		}})
		if len(holder) != c.want {
			t.Errorf("%s: held %v", c.name, holder)
		}
	}
}
