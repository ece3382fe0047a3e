// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

func TestDiagnosis(t *testing.T) {
	t.Parallel()
	refused := bgp.Notification{Time: time.Unix(100, 0), Received: true, Code: 2, Subcode: 2}
	established := bgp.Session{State: bgp.Established, LastNotification: refused}
	for _, tt := range []struct {
		name    string
		session bgp.Session
		bfd     bfd.State
		guarded bool
		want    v1beta1.BGPSessionStatus
	}{
		{name: "fine", session: established},
		{name: "fine and guarded", session: established, bfd: bfd.Up, guarded: true},
		{
			name: "not guarded", session: established, bfd: bfd.Init, guarded: true,
			want: v1beta1.BGPSessionStatus{Peer: "p", State: "Established", BFD: "Init"},
		},
		{
			name: "not for all routes", session: bgp.Session{State: bgp.Established, Problem: errors.New("no IPv6")},
			want: v1beta1.BGPSessionStatus{Peer: "p", State: "Established", Message: "no IPv6"},
		},
		{
			name: "refused", session: bgp.Session{State: bgp.Active, LastNotification: refused},
			want: v1beta1.BGPSessionStatus{Peer: "p", State: "Down", LastNotification: "received OPEN Message Error, Bad Peer AS"},
		},
		{
			name: "held", session: bgp.Session{Held: "BFD down", Problem: errors.New("unreachable")}, bfd: bfd.Down, guarded: true,
			want: v1beta1.BGPSessionStatus{Peer: "p", State: "Down", BFD: "Down", Message: "BFD down"},
		},
	} {
		got := diagnosisOf("p", &tt.session, tt.bfd, tt.guarded).BGPSessionStatus
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// What lasts is told, once, and what does not is not: in seconds since the first look.
func TestSettling(t *testing.T) {
	t.Parallel()
	said := func(message string) diagnosis {
		return diagnosis{BGPSessionStatus: v1beta1.BGPSessionStatus{Peer: "p", State: "Down", Message: message}}
	}
	unguarded := diagnosis{BGPSessionStatus: v1beta1.BGPSessionStatus{Peer: "p", State: "Established", BFD: "Down"}}
	other := diagnosis{BGPSessionStatus: said("").BGPSessionStatus, notified: time.Unix(1, 0)}
	for _, tt := range []struct {
		name  string
		steps []struct {
			at int
			is diagnosis
			// want is what is told, if it is.
			want *v1beta1.BGPSessionStatus
		}
	}{
		{"fine from the beginning", steps{{0, diagnosis{}, nil}, {14, diagnosis{}, nil}, {15, diagnosis{}, &fineSession}, {99, diagnosis{}, nil}}},
		{"comes up in time", steps{{0, said("a"), nil}, {10, diagnosis{}, nil}, {15, diagnosis{}, &fineSession}, {30, diagnosis{}, nil}}},
		{"does not come up", steps{{0, said("a"), nil}, {15, said("a"), told("a")}, {40, said("a"), nil}, {41, diagnosis{}, nil}, {56, diagnosis{}, &fineSession}}},
		{"is down for a moment", steps{{15, diagnosis{}, nil}, {30, diagnosis{}, &fineSession}, {40, said("a"), nil}, {54, said("a"), nil}, {55, diagnosis{}, nil}, {70, diagnosis{}, nil}}},
		{"flaps", steps{{0, said("a"), nil}, {15, said("a"), told("a")}, {20, diagnosis{}, nil}, {30, said("a"), nil}, {44, diagnosis{}, nil}, {58, said("a"), nil}, {99, said("a"), nil}}},
		{"is down for changing reasons", steps{{0, said("a"), nil}, {10, said("b"), nil}, {15, said("c"), told("c")}, {20, said("b"), nil}, {30, said("c"), nil}, {60, said("c"), nil}}},
		{"is down for another reason", steps{{0, said("a"), nil}, {15, said("a"), told("a")}, {20, said("b"), nil}, {35, said("b"), told("b")}}},
		{"is tried again", steps{{0, said("a"), nil}, {15, said("a"), told("a")}, {20, said(""), nil}, {90, said(""), nil}, {99, other, nil}, {114, other, told("")}}},
		{"has never been guarded", steps{{0, said("a"), nil}, {10, unguarded, nil}, {15, unguarded, &fineSession}, {25, unguarded, &unguarded.BGPSessionStatus}}},
	} {
		s := settling{peers: make(map[bgp.PeerName]*settlingPeer)}
		for _, step := range tt.steps {
			news, again := s.observe(time.Unix(int64(step.at), 0), map[bgp.PeerName]diagnosis{"p": step.is})
			if got := s.amiss()["p"]; news != (step.want != nil) || news && got != *step.want {
				t.Errorf("%s: after %d s told: %t, %+v; want %+v", tt.name, step.at, news, got, step.want)
			}
			if waits := s.peers["p"].now != s.peers["p"].told || !s.known; waits != (again > 0) || again > settlingTime {
				t.Errorf("%s: after %d s the next look is after %v; something settles: %t", tt.name, step.at, again, waits)
			}
		}
	}
}

type steps = []struct {
	at   int
	is   diagnosis
	want *v1beta1.BGPSessionStatus
}

var fineSession v1beta1.BGPSessionStatus

func told(message string) *v1beta1.BGPSessionStatus {
	return &v1beta1.BGPSessionStatus{Peer: "p", State: "Down", Message: message}
}

// A peer that goes is not told of any more.
func TestSettlingForgets(t *testing.T) {
	t.Parallel()
	s := settling{peers: make(map[bgp.PeerName]*settlingPeer)}
	at := time.Unix(1000, 0)
	d := map[bgp.PeerName]diagnosis{"p": {BGPSessionStatus: *told("a")}, "q": {}}
	if news, again := s.observe(at, nil); news || again != 0 {
		t.Errorf("no peers: told %t, again after %v", news, again)
	}
	s.observe(at, d)
	if news, _ := s.observe(at.Add(settlingTime), d); !news || len(s.amiss()) != 1 {
		t.Fatalf("told %t: %v", news, s.amiss())
	}
	delete(d, "p")
	if news, _ := s.observe(at.Add(settlingTime), d); !news || len(s.amiss()) != 0 {
		t.Errorf("told %t: %v", news, s.amiss())
	}
}
