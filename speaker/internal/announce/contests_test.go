// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/elect"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// questionTakes is how long fakeLAN takes to ask.
const questionTakes = 40 * time.Millisecond

var squatter = [6]byte{2, 0xff}

// fakeLAN has stations that answer for addresses.
type fakeLAN struct {
	layer2 *fakeLayer2

	mu       sync.Mutex // guards what follows
	stations map[netip.Addr][6]byte
	asked    []int // addresses of each question
	repeated int
}

func (f *fakeLAN) Who(ctx context.Context, addresses []layer2.Announcement) map[netip.Addr]layer2.Claim {
	timer := time.NewTimer(questionTakes)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, len(addresses))
	found := make(map[netip.Addr]layer2.Claim)
	for _, n := range addresses {
		if mac, ok := f.stations[n.Address]; ok {
			found[n.Address] = layer2.Claim{Address: n.Address, Interface: "eth0", MAC: mac}
		}
	}
	return found
}

func (f *fakeLAN) Repeat(netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repeated++
}

func (f *fakeLAN) Announced(a netip.Addr) (layer2.Announcement, bool) {
	f.layer2.mu.Lock()
	defer f.layer2.mu.Unlock()
	interfaces, ok := f.layer2.announced[a]
	return layer2.Announcement{Address: a, Interfaces: interfaces}, ok
}

// set has a station answer for an address, or none if mac is zero.
func (f *fakeLAN) set(a string, mac [6]byte) {
	stations := make(map[netip.Addr][6]byte)
	if mac != ([6]byte{}) {
		stations[netip.MustParseAddr(a)] = mac
	}
	f.have(stations)
}

// have has stations answer for addresses, and nobody for any other.
func (f *fakeLAN) have(stations map[netip.Addr][6]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stations = stations
}

func (f *fakeLAN) questions() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// contested runs f with a speaker on node a that minds other stations. It has settled
// with one address, and asked nobody for it.
func contested(t *testing.T, policy ContestPolicy, f func(s *speaker, c *Contests, lan *fakeLAN)) {
	t.Helper()
	contestedSince(t, policy, func(s *speaker, lan *fakeLAN) {
		s.settle()
		s.expectAnnounced("192.0.2.1")
		if asked := lan.questions(); asked != nil {
			t.Errorf("a speaker that starts asks %v, want nothing: others may be taken over", asked)
		}
		s.events.take()
		f(s, s.Contests, lan)
	})
}

// contestedSince does the same with one that has not settled.
func contestedSince(t *testing.T, policy ContestPolicy, f func(s *speaker, lan *fakeLAN)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var contests *Contests
		s := newSpeaker(t, "a", newFakeStatusAPI(), func(c *Config) {
			contests = NewContests(ContestsConfig{Policy: policy, Inventory: c.Inventory, Events: c.Events, Log: slog.New(slog.DiscardHandler)})
			c.Contests = contests
		})
		lan := &fakeLAN{layer2: s.layer2}
		contests.LAN = lan
		s.registry.MustRegister(contests)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- contests.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("contests: %v", err)
			}
		}()
		defer s.start()()
		fill(s.inventory, "a")
		add(s.inventory, "old", "192.0.2.1")
		f(s, lan)
	})
}

func (s *speaker) expectContested(want string) {
	s.t.Helper()
	text := ""
	if want != "" {
		text = "# HELP herald_layer2_contested 1 for each address of this node that another station has, too, by that station's hardware address.\n" +
			"# TYPE herald_layer2_contested gauge\n" + `herald_layer2_contested{ip="` + want + `",mac="02:ff:00:00:00:00"} 1` + "\n"
	}
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(text), "herald_layer2_contested"); err != nil {
		s.t.Error(err)
	}
}

// A speaker that has just started takes over from one that dies then, and asks nobody: the
// address may have been announced for ages.
func TestTakeoverJustAfterTheStart(t *testing.T) {
	contestedSince(t, Defend, func(s *speaker, lan *fakeLAN) {
		s.members.set("a", "b")
		s.inventory.OnNode(nil, node("b"))
		only := func(name string) {
			ad := advertisement()
			ad.Generation = time.Now().UnixNano()
			ad.Spec.NodeSelectors = selecting(name)
			s.inventory.OnL2Advertisement(nil, ad)
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		only("b")
		s.source.set()
		close(s.links.ready)
		close(s.members.settled)
		time.Sleep(announcedWithin / 2)
		synctest.Wait()
		s.expectAnnounced()
		only("a")
		s.expectAnnounced("192.0.2.1")
		if asked := lan.questions(); asked != nil {
			t.Errorf("asked %v, want nothing: nobody is to wait", asked)
		}
	})
}

// The first announcement of an address waits for the answer of the LAN, and no longer.
func TestNewAddressIsAskedFor(t *testing.T) {
	contested(t, Defend, func(s *speaker, _ *Contests, lan *fakeLAN) {
		add(s.inventory, "web", "192.0.2.2")
		add(s.inventory, "api", "192.0.2.3")
		synctest.Wait()
		s.expectAnnounced("192.0.2.1")
		time.Sleep(2 * questionTakes)
		synctest.Wait()
		s.expectAnnounced("192.0.2.1", "192.0.2.2", "192.0.2.3")
		s.expectEvents("default/api nodeAssigned uid-api", "default/web nodeAssigned uid-web")
		sum := 0
		for _, n := range lan.questions() {
			sum += n
		}
		if sum != 2 {
			t.Errorf("questions for %v addresses, want each once", lan.questions())
		}
	})
}

// An owner that had no time to ask and announce leaves that to the next. One that had is
// replaced at once.
func TestNewAddressWithAnotherOwner(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		asked bool
	}{
		{"a moment ago", questionTakes / 2, true},
		{"long ago", 2 * announcedWithin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contested(t, Defend, func(s *speaker, _ *Contests, lan *fakeLAN) {
				fill(s.inventory, "a", "b")
				s.members.set("a", "b")
				s.quiesce()
				address, before := s.addressOf("b"), len(lan.questions())
				lan.set(address, squatter)
				add(s.inventory, "web", address)
				time.Sleep(tt.after)
				s.members.set("a") // it is this node's now
				time.Sleep(10 * time.Second)
				s.quiesce()
				if asked := len(lan.questions()) > before; asked != tt.asked {
					t.Errorf("asked: %t, want %t", asked, tt.asked)
				}
				if _, contested := s.Contests.all()[netip.MustParseAddr(address)]; contested != tt.asked {
					t.Errorf("the squatter is found: %t, want %t", contested, tt.asked)
				}
			})
		})
	}
}

// addressOf returns an address that is elected to be that node's, if it and this one are
// there.
func (s *speaker) addressOf(node lb.NodeName) string {
	nodes := elect.NewNodes([]lb.NodeName{s.Node, node})
	both := nodes.None()
	both.Add(0)
	both.Add(1)
	for i := 2; ; i++ {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if owner, _ := nodes.Owner(elect.KeyOf(a), both); nodes.Name(owner) == node {
			return a.String()
		}
	}
}

// An answer that is lost, or comes too late, is not the last one.
func TestNewAddressIsAskedForAgain(t *testing.T) {
	contested(t, Defend, func(s *speaker, _ *Contests, lan *fakeLAN) {
		add(s.inventory, "web", "192.0.2.2")
		add(s.inventory, "api", "192.0.2.3")
		time.Sleep(2 * questionTakes)
		lan.set("192.0.2.2", squatter)
		time.Sleep(10 * time.Second)
		s.quiesce()
		s.expectContested("192.0.2.2")
		before := len(lan.questions())
		time.Sleep(5 * time.Second)
		if after := len(lan.questions()); after > before+1 {
			t.Errorf("%d questions in five seconds, want one of the contest", after-before)
		}
	})
}

func TestDefend(t *testing.T) {
	contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
		lan.set("192.0.2.2", squatter)
		add(s.inventory, "web", "192.0.2.2")
		time.Sleep(2 * questionTakes)
		s.quiesce()
		s.expectAnnounced("192.0.2.1", "192.0.2.2")
		s.expectEvents("default/web AddressContested uid-web", "default/web nodeAssigned uid-web")
		s.expectContested("192.0.2.2")

		if lan.repeated != 1 {
			t.Errorf("announced again %d times when it is certain that there is a contest, want once", lan.repeated)
		}

		time.Sleep(10 * time.Second)
		for range 3 {
			c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.2"), Interface: "eth0", MAC: squatter})
		}
		synctest.Wait()
		if lan.repeated != 2 {
			t.Errorf("announced again %d times after three claims at once, want once more", lan.repeated-1)
		}
		lan.set("192.0.2.2", [6]byte{})
		time.Sleep(time.Minute)
		s.expectEvents("default/web AddressSettled uid-web")
		s.expectContested("")
	})
}

func TestYield(t *testing.T) {
	contested(t, Yield, func(s *speaker, c *Contests, lan *fakeLAN) {
		lan.set("192.0.2.1", squatter)
		c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.1"), Interface: "eth0", MAC: squatter})
		time.Sleep(time.Second)
		s.expectAnnounced("192.0.2.1")
		time.Sleep(5 * time.Second)
		s.quiesce()
		s.expectAnnounced()
		s.expectEvents("default/old AddressContested uid-old")
		s.expectContested("192.0.2.1")

		lan.set("192.0.2.1", [6]byte{})
		time.Sleep(time.Minute)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		s.expectEvents("default/old AddressSettled uid-old", "default/old nodeAssigned uid-old")
		if lan.repeated != 0 {
			t.Error("an address is defended that is to be yielded")
		}
	})
}

// An address that goes to another node is claimed by it, and answered for: by right.
func TestClaimInHandover(t *testing.T) {
	contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
		lan.set("192.0.2.1", squatter) // a speaker, in truth
		c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.1"), Interface: "eth0", MAC: squatter})
		synctest.Wait()
		s.layer2.Withdraw(netip.MustParseAddr("192.0.2.1")) // the handover is complete
		time.Sleep(time.Minute)
		s.expectEvents()
		s.expectContested("")
		if lan.repeated != 0 {
			t.Error("an address is defended against the speaker that it goes to")
		}
	})
}

// A claim that nobody answers for was a speaker that had not heard of this one yet.
func TestClaimInPassing(t *testing.T) {
	contested(t, Yield, func(s *speaker, c *Contests, _ *fakeLAN) {
		c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.1"), Interface: "eth0", MAC: squatter})
		c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.9"), Interface: "eth0", MAC: squatter}) // not ours
		time.Sleep(5 * time.Minute)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		s.expectEvents()
	})
}
