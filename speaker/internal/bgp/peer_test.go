// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPeerDefaultsAndRefusals(t *testing.T) {
	t.Parallel()
	good := Peer{
		Address: netip.MustParseAddr("192.0.2.2"), LocalASN: 64500, RemoteASN: 64501,
		RouterID: netip.MustParseAddr("192.0.2.1"),
	}
	if _, err := good.withDefaults(); err != nil {
		t.Fatalf("a good peer is refused: %v", err)
	}
	for _, test := range []struct {
		name string
		edit func(*Peer)
		want string // empty if it is good
	}{
		{"nothing to reach", func(p *Peer) { p.Address = netip.Addr{} }, "either an address or an interface"},
		{"two ways to reach", func(p *Peer) { p.Interface = "eth0" }, "either an address or an interface"},
		{"unnumbered", func(p *Peer) { p.Address, p.Interface = netip.Addr{}, "eth0" }, ""},
		{"no local ASN", func(p *Peer) { p.LocalASN = 0 }, "local ASN 0"},
		{"no remote ASN", func(p *Peer) { p.RemoteASN = 0 }, "remote ASN 0"},
		{"no remote ASN, and none needed", func(p *Peer) { p.RemoteASN, p.Mode = 0, ASNExternal }, ""},
		{"no router ID", func(p *Peer) { p.RouterID = netip.Addr{} }, "router ID"},
		{"an IPv6 router ID", func(p *Peer) { p.RouterID = netip.IPv6LinkLocalAllNodes() }, "router ID"},
		{"a hold time too short", func(p *Peer) { p.HoldTime = 2 * time.Second }, "hold time 2s"},
		{"keepalive above hold", func(p *Peer) { p.HoldTime, p.Keepalive = 9*time.Second, 10*time.Second }, "keepalive interval 10s"},
		{"no time to connect", func(p *Peer) { p.ConnectRetry = time.Millisecond }, "connect retry time 1ms"},
		{"a restart of hours", func(p *Peer) { p.RestartTime = 2 * time.Hour }, "restart time"},
		{"families that differ", func(p *Peer) { p.Source = netip.IPv6Loopback() }, "different families"},
		{"a next hop of the other family", func(p *Peer) { p.NextHop4 = netip.IPv6Loopback() }, "IPv4 next hop"},
		{"a long password", func(p *Peer) { p.Password = Password(strings.Repeat("x", 81)) }, "longer than 80"},
	} {
		p := good
		test.edit(&p)
		_, err := p.withDefaults()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestTimersFollowEachOther(t *testing.T) {
	t.Parallel()
	base := Peer{Address: netip.MustParseAddr("2001:db8::2"), LocalASN: 1, RemoteASN: 1, RouterID: netip.MustParseAddr("192.0.2.1")}
	p, err := base.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want := base
	want.Port, want.HoldTime, want.Keepalive = 179, 90*time.Second, 30*time.Second
	want.ConnectRetry, want.RestartTime, want.Families = 2*time.Second, 2*time.Minute, IPv6Unicast
	if diff := cmp.Diff(want, p, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	base.NoHoldTime = true
	if p, _ := base.withDefaults(); p.HoldTime != 65535*time.Second {
		t.Errorf("without a hold time %s is proposed", p.HoldTime)
	}
}

// A password is in no log, however its peer gets there.
func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	p := Peer{Password: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, p); strings.Contains(got, "hunter2") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

// Sets of communities are sets, and routes that are the same are one value.
func TestEqualPathsAreOneRoute(t *testing.T) {
	t.Parallel()
	a := newAttributes(&Path{Communities: []Community{3, 1, 2, 1}, LargeCommunities: []LargeCommunity{{1, 2, 3}, {1, 2, 2}}})
	b := newAttributes(&Path{
		Communities: []Community{1, 2, 3}, LargeCommunities: []LargeCommunity{{1, 2, 2}, {1, 2, 3}, {1, 2, 3}}, LocalPref: 100,
	})
	if a != b {
		t.Errorf("%+v and %+v differ", a, b)
	}
	if c := newAttributes(&Path{Communities: []Community{1, 2}}); a == c {
		t.Error("different communities are equal")
	}
}

func TestPathRefusals(t *testing.T) {
	t.Parallel()
	for prefix, hop := range map[string]string{
		"198.51.100.1/24":          "",
		"::ffff:198.51.100.1/128":  "",
		"2001:db8::1/128":          "192.0.2.1",
		"2001:db8:ffff:ffff::1/64": "",
	} {
		p := Path{}
		if hop != "" {
			p.NextHop = netip.MustParseAddr(hop)
		}
		if checkPath(netip.MustParsePrefix(prefix), &p) == nil {
			t.Errorf("%s by %q is accepted", prefix, hop)
		}
	}
}

func TestNotificationWords(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	for want, n := range map[string]Notification{
		"": {},
		"received OPEN Message Error, Bad Peer AS":               {Time: now, Received: true, Code: 2, Subcode: 2},
		"sent Hold Timer Expired":                                {Time: now, Code: 4},
		"received Cease, Administrative Shutdown: \"bye\"":       {Time: now, Received: true, Code: 6, Subcode: 2, Communication: "bye"},
		"received Cease, subcode 99":                             {Time: now, Received: true, Code: 6, Subcode: 99},
		"received OPEN Message Error, subcode 8":                 {Time: now, Received: true, Code: 2, Subcode: 8},
		"received NOTIFICATION 99/1":                             {Time: now, Received: true, Code: 99, Subcode: 1},
		"received UPDATE Message Error, Malformed AS_PATH":       {Time: now, Received: true, Code: 3, Subcode: 11},
		"sent Message Header Error, Connection Not Synchronized": {Time: now, Code: 1, Subcode: 1},
	} {
		if got := n.String(); got != want {
			t.Errorf("%+v is %q, want %q", n, got, want)
		}
	}
}
