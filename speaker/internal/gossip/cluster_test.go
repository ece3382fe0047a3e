// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/herald-lb/herald/internal/lb"
)

const testPort = 7946

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a number of speakers on one network.
type cluster struct {
	t       *testing.T
	net     *network
	members []*member
	// profile and secret are those of members started from now on.
	profile Profile
	secret  string
}

// member is one speaker. Its name and address come from its number.
type member struct {
	*Members
	name      lb.NodeName
	ip        netip.Addr
	secretDir string
	cancel    context.CancelFunc
	done      chan error
}

func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(), secret: "a secret"}
	for range n {
		c.start(len(c.members))
	}
	return c
}

func ipOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

func nameOf(i int) lb.NodeName { return lb.NodeName(fmt.Sprintf("node-%d", i)) }

// start runs the speaker with that number, which may have run before.
func (c *cluster) start(i int) *member {
	c.t.Helper()
	m := c.prepare(i)
	m.SetPeers(c.nodes())
	c.run(m)
	for _, other := range c.members {
		other.SetPeers(c.nodes())
	}
	return m
}

// prepare makes the speaker with that number without running it.
func (c *cluster) prepare(i int) *member {
	c.t.Helper()
	m := &member{name: nameOf(i), ip: ipOf(i)}
	if c.secret != "" {
		m.secretDir = c.t.TempDir()
		writeSecret(c.t, m.secretDir, c.secret)
	}
	members, err := New(Config{
		Node: m.name, Bind: m.ip, Port: testPort, SecretDir: m.secretDir, Profile: c.profile,
		transport: c.net.plug(m.ip),
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	m.Members = members
	if i == len(c.members) {
		c.members = append(c.members, m)
	} else {
		c.members[i] = m
	}
	return m
}

func (c *cluster) run(m *member) {
	ctx, cancel := context.WithCancel(c.t.Context())
	m.cancel, m.done = cancel, make(chan error, 1)
	go func() { m.done <- m.Run(ctx) }()
}

// nodes is what the speakers learn from the API server.
func (c *cluster) nodes() map[lb.NodeName][]netip.Addr {
	nodes := make(map[lb.NodeName][]netip.Addr)
	for i := range c.members {
		nodes[nameOf(i)] = []netip.Addr{netip.MustParseAddr("fd00::1"), ipOf(i)}
	}
	return nodes
}

// leave ends the speaker in good order and returns how long that took.
func (c *cluster) leave(m *member) time.Duration {
	c.t.Helper()
	began := time.Now()
	m.cancel()
	if err := <-m.done; err != nil {
		c.t.Errorf("%s: %v", m.name, err)
	}
	return time.Since(began)
}

// close ends all speakers.
func (c *cluster) close() {
	c.t.Helper()
	for _, m := range c.members {
		if m.cancel != nil {
			c.leave(m)
		}
	}
	// What memberlist leaves running for a moment (probes, streams) must end too.
	time.Sleep(time.Minute)
}

// awaitAlive waits until each observer sees exactly the members with these numbers
// alive, and returns how long it took. It fails after the limit.
func (c *cluster) awaitAlive(limit time.Duration, observers []*member, numbers ...int) time.Duration {
	c.t.Helper()
	var want []lb.NodeName
	for _, i := range numbers {
		want = append(want, nameOf(i))
	}
	slices.Sort(want)
	began := time.Now()
	for _, m := range observers {
		for {
			got := aliveNames(m.Members)
			if slices.Equal(got, want) {
				break
			}
			if time.Since(began) > limit {
				c.t.Fatalf("%s sees %v after %s, want %v", m.name, got, limit, want)
			}
			time.Sleep(10 * time.Millisecond) // fake time
		}
	}
	return time.Since(began)
}

func aliveNames(m *Members) []lb.NodeName {
	var names []lb.NodeName
	for name := range m.Alive() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func isSettled(m *Members) bool {
	select {
	case <-m.Settled():
		return true
	default:
		return false
	}
}

// writeSecret replaces the file as a whole, as a kubelet does.
func writeSecret(t *testing.T, dir, secret string) {
	t.Helper()
	temporary := filepath.Join(dir, "new")
	if err := os.WriteFile(temporary, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, secretFile)); err != nil {
		t.Fatal(err)
	}
}
