// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"strings"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// awaitNotification waits for a NOTIFICATION with these words.
func (w *world) awaitNotification(t *testing.T, name bgp.PeerName, words string) {
	t.Helper()
	var got string
	linktest.Await(t, func() bool {
		got = w.Snapshot()[name].LastNotification.String()
		return strings.Contains(got, words)
	}, func() { t.Logf("last NOTIFICATION is %q, want %q", got, words) })
}

// awaitProblem waits for a problem with these words.
func (w *world) awaitProblem(t *testing.T, name bgp.PeerName, words string) {
	t.Helper()
	var got error
	linktest.Await(t, func() bool {
		got = w.Snapshot()[name].Problem
		return got != nil && strings.Contains(got.Error(), words)
	}, func() { t.Logf("problem is %v, want %q", got, words) })
}

func TestWrongASN(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{}, lb4)
		p := peer()
		p.RemoteASN = 64999
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		w.awaitNotification(t, "tor", "sent OPEN Message Error, Bad Peer AS")
		p.RemoteASN = peerASN
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		awaitCount(t, r, 1)
		p.LocalASN = 64999
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		w.awaitNotification(t, "tor", "received OPEN Message Error, Bad Peer AS")
	})
}

func TestDynamicASN(t *testing.T) {
	for _, test := range []struct {
		name string
		mode bgp.ASNMode
		asn  uint32
		up   bool
	}{
		{"an internal one is wanted and comes", bgp.ASNInternal, nodeASN, true},
		{"an internal one is wanted and an external comes", bgp.ASNInternal, peerASN, false},
		{"an external one is wanted and comes", bgp.ASNExternal, peerASN, true},
		{"an external one is wanted and an internal comes", bgp.ASNExternal, nodeASN, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := expecting(bgptest.Neighbor{Address: node4})
			c.ASN = test.asn
			r := bgptest.NewFRR(t, newSite(t).Namespace, c)
			w := run(t)
			w.advertise(t, "tor", bgp.Path{}, lb4)
			p := peer()
			p.RemoteASN, p.Mode = 0, test.mode
			w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
			switch {
			case test.up:
				awaitCount(t, r, 1)
				if s := w.Snapshot()["tor"]; s.RemoteASN != test.asn {
					t.Errorf("the peer's ASN is %d, want %d", s.RemoteASN, test.asn)
				}
			default:
				w.awaitNotification(t, "tor", "sent OPEN Message Error, Bad Peer AS")
			}
		})
	}
}

func TestPassword(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4, Password: "right"}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		w.advertise(t, "tor", bgp.Path{}, lb4)
		p := peer()
		p.Password = "wrong"
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		linktest.Await(t, func() bool { return w.Snapshot()["tor"].State == bgp.Active }, func() {})
		p.Password = "right"
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		awaitCount(t, r, 1)
		if s := w.metric(t, "metallb_bgp_opens_sent"); s != 1 {
			t.Errorf("%v OPENs were sent, want 1: the wrong password must not connect", s)
		}
		p.Password = "wrong"
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		awaitCount(t, r, 0)
	})
}

// A router that advertises to us is listened to and not believed, not even about a
// prefix of our own and with a higher preference.
func TestReceivedRoutesAreRefused(t *testing.T) {
	c := expecting(bgptest.Neighbor{Address: node4})
	c.ASN = nodeASN
	c.Networks = []string{"203.0.113.0/24", "198.51.100.9/32", "2001:db8:f::/48"}
	withRouters(t, c, func(t *testing.T, r bgptest.Router) {
		w := run(t)
		p := peer()
		p.RemoteASN = nodeASN
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
		linktest.Await(t, func() bool { return w.metric(t, "herald_bgp_refused_prefixes") == 3 },
			func() { t.Logf("%v are refused", w.metric(t, "herald_bgp_refused_prefixes")) })
		w.advertise(t, "tor", bgp.Path{}, lb4, "198.51.100.9/32")
		awaitCount(t, r, 2)
	})
}

// A peer with a family of its own does not get the other one, and a peer that cannot be
// had does not keep another from anything.
func TestOnlyTheBadPeerSuffers(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4, NoIPv6: true}), func(t *testing.T, r bgptest.Router) {
		w := run(t)
		for _, name := range []bgp.PeerName{"tor", "silent", "invalid"} {
			w.advertise(t, name, bgp.Path{}, lb4, lb6)
		}
		silent, invalid := peer(), peer()
		silent.Address = addr("192.0.2.99")
		invalid.LocalASN = 0
		w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer(), "silent": silent, "invalid": invalid})
		s := w.established(t, "tor")
		if s.Families != bgp.IPv4Unicast {
			t.Errorf("families are %s, want ipv4-unicast only", s.Families)
		}
		awaitCount(t, r, 1)
		w.awaitProblem(t, "tor", "routes of ipv6-unicast are not advertised: the peer has no capability for it")
		w.awaitProblem(t, "invalid", "local ASN 0 is reserved")
		if s := w.Snapshot()["silent"]; s.State == bgp.Established {
			t.Error("a session with nobody is up")
		}
	})
}

// Why there is no session is said in a word, whatever it is.
func TestWhatIsInTheWay(t *testing.T) {
	withRouters(t, expecting(bgptest.Neighbor{Address: node4, NoIPv6: true}), func(t *testing.T, _ bgptest.Router) {
		w := run(t)
		family, closed, away := peer(), peer(), peer()
		family.Families = bgp.IPv6Unicast
		closed.Port = 1
		away.Address = addr("203.0.113.77")
		w.Peers(map[bgp.PeerName]bgp.Peer{"family": family, "closed": closed, "away": away})
		w.awaitNotification(t, "family", "sent OPEN Message Error, Unsupported Capability (the peer has no capability for ipv6-unicast)")
		w.awaitProblem(t, "closed", "connection refused")
		w.awaitProblem(t, "away", "network is unreachable")
	})
}
