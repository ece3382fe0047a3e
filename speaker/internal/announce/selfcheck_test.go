// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// fakeAsker is a LAN where everybody answers, but for what is told otherwise.
type fakeAsker struct {
	mu     sync.Mutex // guards what follows
	silent func(netip.Addr) bool
	others bool          // somebody is heard
	takes  time.Duration // for a question that nobody answers
	asked  []question
}

type question struct {
	at         time.Time
	address    string
	interfaces string
}

func (f *fakeAsker) Ask(_ context.Context, addresses []layer2.Announcement, _ bool) (layer2.Outcome, bool) {
	answered, others, takes := f.hear(addresses)
	if answered {
		return layer2.Answered, true
	}
	time.Sleep(takes)
	return layer2.Silence, others
}

func (f *fakeAsker) hear(addresses []layer2.Announcement) (answered, others bool, takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range addresses {
		f.asked = append(f.asked, question{time.Now(), n.Address.String(), strings.Join(n.Interfaces, ",")})
		answered = answered || !f.silent(n.Address)
	}
	return answered, f.others, f.takes
}

// hears says whether anybody is heard, and how long silence takes.
func (f *fakeAsker) hears(others bool, takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others, f.takes = others, takes
}

// set says which addresses nobody answers for: a list, or "all".
func (f *fakeAsker) set(silent ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = func(a netip.Addr) bool { return slices.Contains(silent, "all") || slices.Contains(silent, a.String()) }
}

// questions returns those for LB IPs since the last call.
func (f *fakeAsker) questions() []question {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := slices.DeleteFunc(f.asked, func(q question) bool { return !strings.HasPrefix(q.address, "192.0.2.") })
	f.asked = nil
	return asked
}

// checking is the speaker on node b, where b is next in line for what a owns.
type checking struct {
	*speaker
	lan *fakeAsker
	// theirs are the addresses of node a.
	theirs []string
}

const checkInterval = time.Minute

// check runs f with a speaker on node b that has settled with eight addresses, of which
// some are a's. Both nodes are in the subnets of the LAN.
func check(t *testing.T, subnets []string, f func(c *checking), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vine := &grapevine{ears: make(map[lb.NodeName]*Facts)}
		c := &checking{lan: &fakeAsker{others: true, takes: questionTakes}}
		c.lan.set()
		c.speaker = newSpeaker(t, "b", newFakeStatusAPI(), append(options, vine.talking("b", Immediate))...)
		checks := NewSelfCheck(SelfCheckConfig{
			Interval: checkInterval, Pace: time.Second,
			Loop: c.Loop, LAN: c.lan, Inventory: c.inventory, Events: c.events, Log: slog.New(slog.DiscardHandler),
		})
		c.registry.MustRegister(checks)
		c.links.snapshot = c.links.snapshot[:1]
		var theirs []netip.Prefix
		for i, s := range subnets {
			p := netip.MustParsePrefix(s)
			theirs = append(theirs, p)
			c.links.snapshot[0].Prefixes = append(c.links.snapshot[0].Prefixes, netip.PrefixFrom(addrIn(p, byte(200+i)), p.Bits()))
		}
		a := NewFacts("a")
		vine.join("a", a)
		c.Facts.Hear(a.setSubnets(theirs))

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- checks.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("self-check: %v", err)
			}
		}()
		defer c.start()()
		c.members.set("a", "b")
		fill(c.inventory, "a", "b")
		for i := range 8 {
			add(c.inventory, fmt.Sprintf("web-%d", i), fmt.Sprintf("192.0.2.%d", i))
		}
		c.settle()
		ours := c.layer2.addresses()
		for i := range 8 {
			if a := fmt.Sprintf("192.0.2.%d", i); !slices.Contains(ours, a) {
				c.theirs = append(c.theirs, a)
			}
		}
		if len(ours) == 0 || len(c.theirs) == 0 {
			t.Fatalf("b has %v, a has %v, want some each", ours, c.theirs)
		}
		c.events.take()
		f(c)
	})
}

// addrIn returns the address of an IPv4 prefix with that last byte.
func addrIn(p netip.Prefix, last byte) netip.Addr {
	a := p.Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

func (c *checking) expectSilent(want ...string) {
	c.t.Helper()
	text := ""
	if len(want) > 0 {
		text = "# HELP herald_layer2_selfcheck_silent 1 for each address that this node is next in line for and that its owner does not answer for, by that owner.\n" +
			"# TYPE herald_layer2_selfcheck_silent gauge\n"
	}
	for _, a := range want {
		text += fmt.Sprintf("herald_layer2_selfcheck_silent{ip=%q,owner=\"a\"} 1\n", a)
	}
	if err := testutil.GatherAndCompare(c.registry, strings.NewReader(text), "herald_layer2_selfcheck_silent"); err != nil {
		c.t.Error(err)
	}
}

// counted returns how many questions had that outcome.
func (c *checking) counted(outcome string) float64 {
	c.t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "herald_layer2_selfcheck_questions_total" && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// service returns the Service that has an address of the checking's.
func (c *checking) service(address string) string {
	return "web-" + address[strings.LastIndex(address, ".")+1:]
}

var lan = []string{"192.0.2.0/24", "10.0.0.0/24"}

// What the other node owns is asked for once in the interval, and nothing else.
func TestAsksForOthersAddresses(t *testing.T) {
	check(t, lan, func(c *checking) {
		time.Sleep(checkInterval)
		c.lan.questions() // the first walk began in the middle of settling
		time.Sleep(10 * checkInterval)
		times := make(map[string]int)
		asked := c.lan.questions()
		for i, q := range asked {
			times[q.address]++
			if q.interfaces != "eth0" {
				t.Errorf("%s asked for on %q, want eth0", q.address, q.interfaces)
			}
			if i > 0 && q.at.Sub(asked[i-1].at) < 750*time.Millisecond {
				t.Errorf("two questions within %s", q.at.Sub(asked[i-1].at))
			}
		}
		for a, n := range times {
			if !slices.Contains(c.theirs, a) {
				t.Errorf("%s is asked for, want %v only", a, c.theirs)
			}
			if n < 9 || n > 11 { // the first and the last walk are not whole
				t.Errorf("%s is asked for %d times in ten intervals", a, n)
			}
		}
		if len(times) != len(c.theirs) {
			t.Errorf("asked for %v, want %v", times, c.theirs)
		}
		c.expectEvents()
		c.expectSilent()
		want := fmt.Sprintf("# HELP herald_layer2_selfcheck_addresses Addresses that this node is next in line for, and asks for now and then.\n"+
			"# TYPE herald_layer2_selfcheck_addresses gauge\nherald_layer2_selfcheck_addresses %d\n", len(c.theirs))
		if err := testutil.GatherAndCompare(c.registry, strings.NewReader(want), "herald_layer2_selfcheck_addresses"); err != nil {
			t.Error(err)
		}
	})
}

func TestSilentOwnerIsReported(t *testing.T) {
	check(t, lan, func(c *checking) {
		a := c.theirs[0]
		name := "default/" + c.service(a)
		c.lan.set(a)
		time.Sleep(3 * checkInterval)
		c.expectEvents(name + " OwnerNotAnswering uid-" + c.service(a))
		c.expectSilent(a)
		c.expectAnnounced(slices.DeleteFunc(c.layer2.addresses(), func(x string) bool { return x == a })...) // it takes nothing over

		time.Sleep(10 * checkInterval)
		c.expectEvents()
		c.lan.set()
		time.Sleep(checkInterval)
		c.expectEvents(name + " OwnerAnswering uid-" + c.service(a))
		c.expectSilent()
	})
}

// An owner that is silent for as long as a handover may take, or a few packets are lost,
// is not reported.
func TestShortSilence(t *testing.T) {
	check(t, lan, func(c *checking) {
		for range 20 {
			c.lan.set(c.theirs...)
			time.Sleep(8 * time.Second)
			c.lan.set()
			time.Sleep(checkInterval)
		}
		c.expectEvents()
		c.expectSilent()
	})
}

// Who hears nobody, or was late, has no reason to complain of others.
func TestSilenceThatProvesNothing(t *testing.T) {
	for name, silence := range map[string]func(*fakeAsker){
		"nobody is heard":     func(f *fakeAsker) { f.set("all") },
		"the process is late": func(f *fakeAsker) { f.hears(true, lateQuestion+time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			check(t, lan, func(c *checking) {
				c.lan.set(c.theirs...)
				silence(c.lan)
				time.Sleep(5 * checkInterval)
				c.expectEvents()
				c.expectSilent()
				if n := c.counted("silence"); n != 0 {
					t.Errorf("%v silences counted, want none", n)
				}
				if n := c.counted("void"); n < 4 {
					t.Errorf("%v void questions counted, want one in each interval at least", n)
				}
			})
		})
	}
}

// Where no node has an address of its own on the link, it counts that others are heard.
func TestLinkWithoutNodeAddresses(t *testing.T) {
	for _, others := range []bool{true, false} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			check(t, lan[:1], func(c *checking) {
				c.lan.hears(others, questionTakes)
				c.lan.set(c.theirs[0])
				time.Sleep(3 * checkInterval)
				var want []string
				if others {
					want = []string{"default/" + c.service(c.theirs[0]) + " OwnerNotAnswering uid-" + c.service(c.theirs[0])}
				}
				c.expectEvents(want...)
			})
		})
	}
}

// An address that no node is on the subnet of is asked for where the owner's own is from,
// and not at all where the two nodes share no link.
func TestWhereToAsk(t *testing.T) {
	for name, test := range map[string]struct {
		subnets []string
		asks    bool
	}{
		"on the subnet of the address":   {lan[:1], true},
		"on the subnet of the owner":     {lan[1:], true},
		"subnets that may be any":        {[]string{"172.17.0.0/16"}, false},
		"none in common, as far as told": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, test.subnets, func(c *checking) {
				time.Sleep(3 * checkInterval)
				if asked := c.lan.questions(); (len(asked) > 0) != test.asks {
					t.Errorf("%d questions, want some: %v", len(asked), test.asks)
				}
			})
		})
	}
}

// A handover in between makes silences void, and so does the end of a Service.
func TestOwnerGoes(t *testing.T) {
	check(t, lan, func(c *checking) {
		a := c.theirs[0]
		c.lan.set(a)
		time.Sleep(3 * checkInterval)
		c.expectSilent(a)
		c.events.take()
		c.members.set("b")
		time.Sleep(checkInterval)
		if got := len(c.layer2.addresses()); got != 8 {
			t.Errorf("b announces %d addresses after a has gone, want 8", got)
		}
		c.expectSilent()
		for _, event := range c.events.take() {
			if !strings.Contains(event, " nodeAssigned ") {
				t.Errorf("Event %q, want none but nodeAssigned", event)
			}
		}
		c.lan.questions()
		time.Sleep(3 * checkInterval)
		if diff := cmp.Diff(0, len(c.lan.questions())); diff != "" {
			t.Errorf("questions about addresses of this node (-want +got):\n%s", diff)
		}
	})
}
