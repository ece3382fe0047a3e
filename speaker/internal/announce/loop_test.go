// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/lb"
)

// inBubble runs f with a speaker on node a, alone in its cluster, that has settled.
func inBubble(t *testing.T, f func(s *speaker), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI(), options...)
		defer s.start()()
		fill(s.inventory, "a")
		s.settle()
		f(s)
	})
}

// Nothing may happen to an address before all is known that decides about it.
func TestNothingOutOfIgnorance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI())
		defer s.start()()
		fill(s.inventory, "a", "b")
		add(s.inventory, "web", "192.0.2.1")
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"objects", s.source.set},
			{"interfaces", func() { close(s.links.ready) }},
		} {
			s.quiesce()
			if n := s.layer2.callCount(); n != 0 {
				t.Errorf("%d calls before %s are known", n, step.name)
			}
			if s.Ready() == nil {
				t.Errorf("ready before %s are known", step.name)
			}
			step.do()
		}
		s.quiesce()
		if n := s.layer2.callCount(); n != 0 {
			t.Errorf("%d calls before membership has settled", n)
		}
		if n := s.members.peerCount(); n != 2 {
			t.Errorf("members were told of %d peers, want 2: they could never settle", n)
		}
		if diff := cmp.Diff([]string{"eth0", "eth1"}, s.layer2.followed()); diff != "" {
			t.Errorf("interfaces (-want +got):\n%s", diff)
		}
		s.inventory.OnNode(nil, node("c"))
		s.quiesce()
		if s.members.peerCount() != 3 {
			t.Error("a node that came meanwhile was not passed on")
		}
		close(s.members.settled)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		if err := s.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
}

func TestWithoutGossipEveryNodeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI(), withoutGossip)
		defer s.start()()
		fill(s.inventory, "a")
		add(s.inventory, "web", "192.0.2.1")
		s.source.set()
		close(s.links.ready)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		for i := range 20 {
			s.inventory.OnNode(nil, node(fmt.Sprintf("b%d", i))) // one of them wins
		}
		s.quiesce()
		s.expectAnnounced()
	})
}

// What happens to an address as objects come, change and go; and what is told of it.
func TestLifeOfAService(t *testing.T) {
	inBubble(t, func(s *speaker) {
		web := service("web", "192.0.2.1")
		s.inventory.OnService(nil, web)
		s.quiesce()
		s.expectAnnounced() // no endpoints

		s.inventory.OnEndpointSlice(nil, slice("web", "a"))
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		s.expectEvents("default/web nodeAssigned uid-web")

		dual := service("web", "192.0.2.1", "2001:db8::1")
		s.inventory.OnService(web, dual)
		s.quiesce()
		s.expectAnnounced("192.0.2.1", "2001:db8::1")
		s.expectEvents() // the same Service, still announced

		moved := service("web", "192.0.2.2")
		s.inventory.OnService(dual, moved)
		s.quiesce()
		s.expectAnnounced("192.0.2.2")
		s.expectEvents()

		s.inventory.OnEndpointSlice(slice("web", "a"), slice("web"))
		s.quiesce()
		s.expectAnnounced()

		s.inventory.OnEndpointSlice(slice("web"), slice("web", "b"))
		s.quiesce()
		s.expectAnnounced("192.0.2.2")
		s.expectEvents("default/web nodeAssigned uid-web")

		local := moved.DeepCopy()
		local.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.inventory.OnService(moved, local)
		s.quiesce()
		s.expectAnnounced() // the endpoint is on another node

		s.inventory.OnService(local, moved)
		s.quiesce()
		s.expectAnnounced("192.0.2.2")

		s.inventory.OnService(moved, nil)
		s.quiesce()
		s.expectAnnounced()
	})
}

func TestOtherClassDoesNotExist(t *testing.T) {
	inBubble(t, func(s *speaker) {
		foreign := service("web", "192.0.2.1")
		class := "example.org/other"
		foreign.Spec.LoadBalancerClass = &class
		s.inventory.OnService(nil, foreign)
		s.inventory.OnEndpointSlice(nil, slice("web", "a"))
		s.quiesce()
		s.expectAnnounced()
		ours := service("web", "192.0.2.1")
		s.inventory.OnService(foreign, ours)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		s.inventory.OnService(ours, foreign)
		s.quiesce()
		s.expectAnnounced()
		s.inventory.OnService(foreign, nil)
		s.quiesce()
		s.expectAnnounced()
	})
}

// What concerns all addresses: configuration, nodes, members.
func TestEverythingIsDecidedAgain(t *testing.T) {
	inBubble(t, func(s *speaker) {
		add(s.inventory, "web", "192.0.2.1")
		add(s.inventory, "out", "198.51.100.1")
		s.quiesce()
		s.expectAnnounced("192.0.2.1")

		wider := pool("192.0.2.0/24", "198.51.100.0/24")
		wider.Generation = 2
		s.inventory.OnPool(pool("192.0.2.0/24"), wider)
		s.quiesce()
		s.expectAnnounced("192.0.2.1", "198.51.100.1")

		s.inventory.OnL2Advertisement(advertisement(), nil)
		s.quiesce()
		s.expectAnnounced()
		s.inventory.OnL2Advertisement(nil, advertisement())
		s.quiesce()
		s.expectAnnounced("192.0.2.1", "198.51.100.1")

		gated := node("a")
		gated.Labels[corev1.LabelNodeExcludeBalancers] = ""
		s.inventory.OnNode(node("a"), gated)
		s.quiesce()
		s.expectAnnounced()
		s.inventory.OnNode(gated, node("a"))
		s.quiesce()
		s.expectAnnounced("192.0.2.1", "198.51.100.1")

		s.members.set("somebody else")
		s.quiesce()
		s.expectAnnounced()
	})
}

// One change, one piece of news; none for what merely happens.
func TestNoNoise(t *testing.T) {
	inBubble(t, func(s *speaker) {
		web := service("web", "192.0.2.1")
		s.inventory.OnService(nil, web)
		s.inventory.OnEndpointSlice(nil, slice("web", "a"))
		s.quiesce()
		s.expectEvents("default/web nodeAssigned uid-web")
		s.api.takeRequests()
		calls := s.layer2.callCount()

		for i := range 10 {
			labelled := web.DeepCopy()
			labelled.Labels = map[string]string{"n": fmt.Sprint(i)}
			s.inventory.OnService(web, labelled)
			s.inventory.OnEndpointSlice(slice("web", "a"), slice("web", "a", fmt.Sprint("n", i)))
			s.inventory.OnNode(node("a"), node("a"))
			s.members.set("a")
			web = labelled
			s.quiesce()
		}
		s.expectEvents()
		if n := s.layer2.callCount() - calls; n != 0 {
			t.Errorf("%d calls to layer 2 for nothing", n)
		}
		if r := s.api.takeRequests(); len(r) != 0 {
			t.Errorf("requests %v for nothing", r)
		}
	})
}

// The process crashed and came back before anybody noticed: nothing has changed. A
// status that another pod left says nothing.
func TestRestartIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeStatusAPI()
		api.add("l2-web", "a", "web", "pod-of-a")
		api.add("l2-old", "a", "old", "pod-before")
		s := newSpeaker(t, "a", api)
		defer s.start()()
		fill(s.inventory, "a")
		add(s.inventory, "web", "192.0.2.1")
		add(s.inventory, "old", "192.0.2.2")
		s.quiesce() // the informer of statuses has synced
		s.settle()
		s.expectAnnounced("192.0.2.1", "192.0.2.2")
		s.expectEvents("default/old nodeAssigned uid-old")

		s.members.set("b")
		s.quiesce()
		s.members.set("a")
		s.quiesce()
		s.expectEvents("default/old nodeAssigned uid-old", "default/web nodeAssigned uid-web")
	})
}

func TestInterfaces(t *testing.T) {
	inBubble(t, func(s *speaker) {
		add(s.inventory, "web", "192.0.2.1")
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		s.expectEvents("default/web nodeAssigned uid-web")

		replaceAdvertisement := func(generation int64, interfaces ...string) {
			ad := advertisement(interfaces...)
			ad.Generation = generation
			s.inventory.OnL2Advertisement(advertisement(), ad)
			s.quiesce()
		}
		replaceAdvertisement(2, "eth1", "wlan0")
		s.expectAnnounced("192.0.2.1 on eth1")
		s.expectEvents()

		replaceAdvertisement(3, "wlan0")
		s.expectAnnounced()
		s.expectEvents("default/web announceFailed uid-web")
		s.inventory.OnEndpointSlice(slice("web", "a"), slice("web", "b"))
		s.quiesce()
		s.expectEvents() // it has been said

		s.links.set("eth0", "wlan0")
		s.quiesce()
		s.expectAnnounced("192.0.2.1 on wlan0")
		s.expectEvents("default/web nodeAssigned uid-web")

		// A link that is down is no reason for news.
		s.links.mu.Lock()
		down := slices.Clone(s.links.snapshot)
		down[1].Up = false
		s.links.snapshot = down
		s.links.mu.Unlock()
		ring(s.links.changed)
		s.quiesce()
		s.expectAnnounced("192.0.2.1 on wlan0")
		s.expectEvents()

		s.links.set("eth0")
		s.quiesce()
		s.expectAnnounced()
		s.expectEvents("default/web announceFailed uid-web")
	})
}

// cluster is some speakers that see the same objects and members.
type cluster struct {
	t        *testing.T
	api      *fakeStatusAPI
	speakers map[lb.NodeName]*speaker
	stops    map[lb.NodeName]func()
}

func newTestCluster(t *testing.T, names ...lb.NodeName) *cluster {
	t.Helper()
	c := &cluster{t: t, api: newFakeStatusAPI(), speakers: make(map[lb.NodeName]*speaker), stops: make(map[lb.NodeName]func())}
	for _, name := range names {
		s := newSpeaker(t, name, c.api)
		c.speakers[name], c.stops[name] = s, s.start()
	}
	for _, s := range c.speakers {
		for _, name := range names {
			s.inventory.OnNode(nil, node(string(name)))
		}
		s.members.set(names...)
		fill(s.inventory)
	}
	return c
}

func (c *cluster) settle() {
	for _, s := range c.speakers {
		s.source.set()
		close(s.links.ready)
		close(s.members.settled)
	}
	c.quiesce()
}

func (c *cluster) quiesce() {
	for _, s := range c.speakers {
		s.quiesce()
		return
	}
}

// kill ends a speaker; the others notice.
func (c *cluster) kill(name lb.NodeName) {
	c.stops[name]()
	delete(c.stops, name)
	delete(c.speakers, name)
	var rest []lb.NodeName
	for n := range c.speakers {
		rest = append(rest, n)
	}
	for _, s := range c.speakers {
		s.members.set(rest...)
	}
}

func (c *cluster) close() {
	for _, stop := range c.stops {
		stop()
	}
}

// owners returns who announces each address, having checked that nobody else does.
func (c *cluster) owners() map[string]lb.NodeName {
	c.t.Helper()
	owners := make(map[string]lb.NodeName)
	for name, s := range c.speakers {
		for _, a := range s.layer2.addresses() {
			if other, ok := owners[a]; ok {
				c.t.Errorf("%s is announced by %s and %s", a, other, name)
			}
			owners[a] = name
		}
	}
	return owners
}

// A node dies: its addresses move, no other does, and in the end there is one status
// object for each Service, written by the owner.
func TestNodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, "a", "b", "c")
		defer c.close()
		const n = 60
		for i := range n {
			for _, s := range c.speakers {
				add(s.inventory, fmt.Sprint("web", i), fmt.Sprintf("192.0.2.%d", i))
			}
		}
		c.settle()
		before := c.owners()
		if len(before) != n {
			t.Fatalf("%d addresses are announced, want %d", len(before), n)
		}
		c.kill("a") // the sweeper itself, by name
		c.quiesce()
		after := c.owners()
		if len(after) != n {
			t.Fatalf("%d addresses are announced after a death, want %d", len(after), n)
		}
		for a, was := range before {
			if was != "a" && after[a] != was {
				t.Errorf("%s moved from %s to %s for no reason", a, was, after[a])
			}
		}
		time.Sleep(2 * sweepDelay)
		c.quiesce()
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf("web%d %s", i, after[fmt.Sprintf("192.0.2.%d", i)]))
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, c.api.statuses()); diff != "" {
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
	})
}

func TestLeftovers(t *testing.T) {
	nodes := []lb.Node{{Name: "d"}, {Name: "a"}, {Name: "b"}, {Name: "c"}}
	alive := func(names ...lb.NodeName) map[lb.NodeName]struct{} {
		m := make(map[lb.NodeName]struct{})
		for _, n := range names {
			m[n] = struct{}{}
		}
		return m
	}
	for _, tt := range []struct {
		self  lb.NodeName
		alive map[lb.NodeName]struct{}
		want  []lb.NodeName
	}{
		{"a", alive("a", "b", "c", "d"), nil},
		{"b", alive("b", "c"), []lb.NodeName{"a", "d"}},
		{"c", alive("b", "c"), nil},
		{"c", alive("c", "stranger"), []lb.NodeName{"a", "b", "d"}},
	} {
		if diff := cmp.Diff(tt.want, leftovers(tt.self, nodes, tt.alive)); diff != "" {
			t.Errorf("leftovers for %s (-want +got):\n%s", tt.self, diff)
		}
	}
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI())
		if err := s.Live(); err != nil {
			t.Errorf("before the start: %v", err)
		}
		s.busy.Store(time.Now().UnixNano())
		time.Sleep(stuckAfter + time.Second)
		if s.Live() == nil {
			t.Error("a round without end counts as progress")
		}
	})
}

// Who ends before anything is known must not wait for it.
func TestEndsBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t, "a", newFakeStatusAPI())
		stop := s.start()
		s.quiesce()
		stop()
		s = newSpeaker(t, "a", newFakeStatusAPI())
		stop = s.start()
		s.source.set()
		s.quiesce()
		stop()
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, func(s *speaker) {
		add(s.inventory, "web", "192.0.2.1", "2001:db8::1")
		add(s.inventory, "out", "198.51.100.1")
		broken := pool("nonsense")
		broken.Name, broken.UID = "broken", "broken"
		s.inventory.OnPool(nil, broken)
		s.quiesce()
		want := map[string]float64{
			"metallb_speaker_announced ip=192.0.2.1 node=a protocol=layer2 service=default/web":   1,
			"metallb_speaker_announced ip=2001:db8::1 node=a protocol=layer2 service=default/web": 1,
			"herald_speaker_decisions protocol=layer2 reason=Announced":                           2,
			"herald_speaker_decisions protocol=layer2 reason=OutsidePools":                        1,
			"metallb_k8s_client_config_loaded_bool":                                               1,
			"metallb_k8s_client_config_stale_bool":                                                1,
			"metallb_k8s_client_updates_total":                                                    8,
			"metallb_k8s_client_update_errors_total":                                              0,
		}
		if diff := cmp.Diff(want, s.gather()); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		s.inventory.OnService(service("web"), nil)
		s.quiesce()
		for name := range s.gather() {
			if name[:len("metallb_speaker")] == "metallb_speaker" {
				t.Errorf("%s is left of a Service that is gone", name)
			}
		}
	})
}

// gather returns the counters and gauges.
func (s *speaker) gather() map[string]float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetHistogram() != nil {
				continue
			}
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// The inventory makes dirty what changed, and nothing else.
func TestDirtyAddresses(t *testing.T) {
	v := NewInventory("")
	fill(v, "a")
	add(v, "one", "192.0.2.1")
	add(v, "two", "192.0.2.2", "2001:db8::2")
	add(v, "shared", "192.0.2.1")
	if c := v.take(); !c.config || len(c.addresses) != 3 {
		t.Fatalf("first changes: %+v", c)
	}
	if nodes, changed := v.takeNodes(); !changed || len(nodes) != 1 {
		t.Fatalf("first nodes: %v", nodes)
	}
	if c := v.take(); c.config || len(c.addresses) != 0 {
		t.Fatalf("changes that were taken are there again: %+v", c)
	}
	for _, tt := range []struct {
		name string
		do   func()
		want []string
	}{
		{"endpoints", func() { v.OnEndpointSlice(slice("two", "a"), slice("two", "b")) }, []string{"192.0.2.2", "2001:db8::2"}},
		{"endpoints of a stranger", func() { v.OnEndpointSlice(nil, slice("stranger", "b")) }, nil},
		{"labels", func() { v.OnService(service("one", "192.0.2.1"), service("one", "192.0.2.1")) }, []string{"192.0.2.1"}},
		{"address added", func() { v.OnService(service("one"), service("one", "192.0.2.1", "2001:db8::1")) }, []string{"192.0.2.1", "2001:db8::1"}},
		{"address changed", func() { v.OnService(service("one"), service("one", "192.0.2.9")) }, []string{"192.0.2.1", "192.0.2.9", "2001:db8::1"}},
		{"gone", func() { v.OnService(service("two"), nil) }, []string{"192.0.2.2", "2001:db8::2"}},
		{"gone again", func() { v.OnService(service("two"), nil) }, nil},
		{"heartbeat", func() { v.OnNode(node("a"), node("a")) }, nil},
	} {
		tt.do()
		var got []string
		c := v.take()
		for a := range c.addresses {
			got = append(got, a.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" || c.config {
			t.Errorf("%s: config %t, addresses (-want +got):\n%s", tt.name, c.config, diff)
		}
		if _, changed := v.takeNodes(); changed {
			t.Errorf("%s: nodes have changed", tt.name)
		}
	}
	all := make(map[netip.Addr]struct{})
	v.addAddresses(all)
	if len(all) != 2 { // 192.0.2.1 of shared, 192.0.2.9 of one
		t.Errorf("addresses held: %v", all)
	}
	if s := v.sharers(netip.MustParseAddr("192.0.2.1")); len(s) != 1 || s[0].Service.Name.Name != "shared" {
		t.Errorf("sharers: %+v", s)
	}
}
