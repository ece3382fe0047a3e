// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/herald-lb/herald/internal/lb"
)

func TestMembersFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		defer c.close()
		took := c.awaitAlive(2*time.Second, c.members, 0, 1, 2, 3, 4)
		t.Logf("5 members found each other in %s", took)
		for _, m := range c.members {
			synctest.Wait()
			if !isSettled(m.Members) {
				t.Errorf("%s sees everybody and is not settled", m.name)
			}
			select {
			case <-m.Changed():
			default:
				t.Errorf("%s did not ring", m.name)
			}
		}
	})
}

// A death is noticed within the time that the profile promises.
func TestDeathIsNoticed(t *testing.T) {
	for _, tt := range []struct {
		profile Profile
		limit   time.Duration
	}{{Fast, 2 * time.Second}, {Safe, 5 * time.Second}, {WAN, 3 * time.Minute}} {
		t.Run(tt.profile.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{t: t, net: newNetwork(), secret: "a secret", profile: tt.profile}
				for i := range 5 {
					c.start(i)
				}
				defer c.close()
				c.awaitAlive(time.Minute, c.members, 0, 1, 2, 3, 4)
				c.net.move(1, ipOf(2))
				rest := []*member{c.members[0], c.members[1], c.members[3], c.members[4]}
				took := c.awaitAlive(tt.limit, rest, 0, 1, 3, 4)
				t.Logf("all others noticed in %s", took)
			})
		})
	}
}

// A member that leaves is gone at once, says so before Run returns, and never thinks
// of itself as gone: it answers until others have taken over.
func TestLeaveIsHeardAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1, 2, 3, 4)
		leaver := c.members[2]
		took := c.leave(leaver)
		leaver.cancel = nil
		if took > leaveTimeout {
			t.Errorf("leaving took %s", took)
		}
		if _, ok := leaver.Alive()[leaver.name]; !ok {
			t.Error("the leaver has declared itself dead")
		}
		rest := []*member{c.members[0], c.members[1], c.members[3], c.members[4]}
		heard := c.awaitAlive(0, rest, 0, 1, 3, 4)
		t.Logf("left in %s, heard by all %s later", took, heard)
		for _, m := range rest {
			if !m.Left(leaver.name) {
				t.Errorf("for %s it has died", m.name)
			}
		}
	})
}

// A member that dies has not taken its leave, also when it has done so before.
func TestDeathIsNoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1, 2)
		c.leave(c.members[2])
		c.start(2)
		c.awaitAlive(3*time.Second, c.members, 0, 1, 2)
		c.net.move(1, ipOf(2)) // nobody hears the farewell
		c.leave(c.members[2])
		c.members[2].cancel = nil
		rest := c.members[:2]
		c.awaitAlive(time.Minute, rest, 0, 1)
		for _, m := range rest {
			if m.Left(c.members[2].name) {
				t.Errorf("for %s it has taken its leave", m.name)
			}
		}
	})
}

// A speaker that was killed comes back under its name before or after its death was
// noticed.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name string
		away time.Duration
	}{{"before death", 200 * time.Millisecond}, {"after death", 5 * time.Second}, {"when forgotten", 2 * time.Minute}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3)
				defer c.close()
				c.awaitAlive(2*time.Second, c.members, 0, 1, 2)
				c.net.move(1, ipOf(2)) // nobody hears the farewell
				c.leave(c.members[2])
				time.Sleep(tt.away)
				c.net.move(0, ipOf(2))
				c.start(2)
				took := c.awaitAlive(3*time.Second, c.members, 0, 1, 2)
				t.Logf("back in %s", took)
			})
		})
	}
}

// A node that comes back with another address keeps its name.
func TestNewAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1, 2)
		c.net.move(1, ipOf(2))
		c.leave(c.members[2])
		c.awaitAlive(2*time.Second, c.members[:2], 0, 1)
		time.Sleep(Fast.timings().settleMax)

		moved := netip.MustParseAddr("10.9.9.9")
		members, err := New(Config{
			Node: nameOf(2), Bind: moved, Port: testPort, SecretDir: c.members[2].secretDir, transport: c.net.plug(moved),
		}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		c.members[2] = &member{Members: members, name: nameOf(2), ip: moved}
		members.SetPeers(c.nodes())
		c.run(c.members[2])
		c.awaitAlive(3*time.Second, c.members, 0, 1, 2)
	})
}

// Both halves of a partition go on alone and find each other again, also long after
// memberlist has forgotten the other half.
func TestPartitionHeals(t *testing.T) {
	for _, length := range []time.Duration{5 * time.Second, 2 * time.Minute} {
		t.Run(length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 5)
				defer c.close()
				c.awaitAlive(2*time.Second, c.members, 0, 1, 2, 3, 4)
				c.net.move(1, ipOf(3), ipOf(4))
				c.awaitAlive(3*time.Second, c.members[:3], 0, 1, 2)
				c.awaitAlive(3*time.Second, c.members[3:], 3, 4)
				time.Sleep(length)
				c.net.move(0, ipOf(3), ipOf(4))
				took := c.awaitAlive(Fast.timings().rejoinMaximum, c.members, 0, 1, 2, 3, 4)
				t.Logf("healed in %s", took)
			})
		})
	}
}

func TestNodeThatIsGoneIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1)
		c.leave(c.members[1])
		c.members = c.members[:1]
		c.members[0].SetPeers(c.nodes())
		time.Sleep(time.Minute)
		if errors := testutil.ToFloat64(c.members[0].metrics.joinErrors); errors > 3 {
			t.Errorf("%v attempts to reach a node that no longer exists", errors)
		}
	})
}

func TestSettling(t *testing.T) {
	settleMax, settleQuiet := Fast.timings().settleMax, Fast.timings().settleQuiet
	t.Run("not before the nodes are known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 0)
			m := c.prepare(0)
			c.run(m)
			defer c.close()
			time.Sleep(10 * time.Minute)
			if isSettled(m.Members) {
				t.Fatal("settled without knowing any node")
			}
			m.SetPeers(c.nodes())
			synctest.Wait()
			if !isSettled(m.Members) {
				t.Error("the only node is not settled")
			}
		})
	})
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3)
			defer c.close()
			for i := range 3 {
				c.net.move(i, ipOf(i))
			}
			c.net.move(3, ipOf(3))
			lonely := c.start(3)
			time.Sleep(settleMax - 100*time.Millisecond)
			if isSettled(lonely.Members) {
				t.Error("settled too early")
			}
			time.Sleep(200 * time.Millisecond)
			if !isSettled(lonely.Members) {
				t.Errorf("not settled after %s", settleMax)
			}
		})
	})
	t.Run("a node is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3)
			defer c.close()
			c.net.move(1, ipOf(1))
			c.awaitAlive(3*time.Second, []*member{c.members[0], c.members[2]}, 0, 2)
			c.leave(c.members[0])
			restarted := c.start(0)
			began := time.Now()
			<-restarted.Settled()
			took := time.Since(began)
			if got := aliveNames(restarted.Members); !slices.Equal(got, []lb.NodeName{nameOf(0), nameOf(2)}) {
				t.Errorf("settled with %v", got)
			}
			if took > 3*settleQuiet {
				t.Errorf("a restarted speaker took %s to settle because of a dead node", took)
			}
			t.Logf("settled in %s", took)
		})
	})
}

// With all nodes gone but a few, those few must still be found soon.
func TestFewSurvivorsAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		const n = 40
		for i := range n {
			c.prepare(i)
			c.net.move(i+1, ipOf(i))
		}
		alive := []*member{c.members[7], c.members[31]}
		for _, m := range alive {
			c.net.move(0, m.ip)
			m.SetPeers(c.nodes())
			c.run(m)
		}
		defer c.close()
		took := c.awaitAlive(20*time.Second, alive, 7, 31)
		t.Logf("two of %d found each other in %s", n, took)
	})
}

func TestPeersOfTheOtherFamilyAreLeftOut(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	nodes := map[lb.NodeName][]netip.Addr{
		"self": {four, six}, "dual": {six, four}, "four": {four}, "six": {six}, "none": nil,
	}
	for _, tt := range []struct {
		bind string
		want map[lb.NodeName]netip.Addr
	}{
		{"192.0.2.9", map[lb.NodeName]netip.Addr{"dual": four, "four": four}},
		{"0.0.0.0", map[lb.NodeName]netip.Addr{"dual": four, "four": four}},
		{"2001:db8::9", map[lb.NodeName]netip.Addr{"dual": six, "six": six}},
	} {
		m, err := New(Config{Node: "self", Bind: netip.MustParseAddr(tt.bind)}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		m.SetPeers(nodes)
		if diff := cmp.Diff(tt.want, m.missing(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("bound to %s (-want +got):\n%s", tt.bind, diff)
		}
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	for _, bind := range []netip.Addr{{}, netip.IPv6Unspecified()} {
		if _, err := New(Config{Bind: bind}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Errorf("bind address %s accepted", bind)
		}
	}
}

func TestProfileIsAFlag(t *testing.T) {
	for _, want := range []Profile{Fast, Safe, WAN} {
		got := Fast
		if err := got.Set(want.String()); err != nil || got != want {
			t.Errorf("Set(%q) = %s, %v", want.String(), got.String(), err)
		}
	}
	var p Profile
	if err := p.Set("faster"); err == nil {
		t.Error("unknown profile accepted")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := New(Config{Node: "a", Bind: netip.MustParseAddr("192.0.2.1")}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	_ = m
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, x := range f.GetMetric() {
			name := f.GetName()
			for _, l := range x.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got = append(got, name)
		}
	}
	want := []string{
		"herald_gossip_events_total event=join", "herald_gossip_events_total event=leave",
		"herald_gossip_health_score", "herald_gossip_join_errors_total", "herald_gossip_members",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestLog(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	to := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	l := newLogger(to, func() time.Time { return now })
	l.Printf("[DEBUG] memberlist: not shown")
	l.Printf("[INFO] memberlist: Suspect %s has failed", "a")
	l.Printf("[WARN] memberlist: hm")
	l.Printf("[ERR] Failed to x")
	l.Printf("no level")
	want := `level=INFO msg=memberlist message="Suspect a has failed"
level=WARN msg=memberlist message=hm
level=WARN msg=memberlist message="Failed to x"
level=INFO msg=memberlist message="no level"
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for range 1000 {
		l.Printf("[ERR] memberlist: Decrypt packet failed")
	}
	if n := strings.Count(out.String(), "\n"); n > logBudget {
		t.Errorf("%d lines in one window, want at most %d", n, logBudget)
	}
	now = now.Add(logWindow)
	out.Reset()
	l.Printf("[INFO] memberlist: again")
	if !strings.Contains(out.String(), "again") {
		t.Error("nothing is logged after the window")
	}
}
