// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// fakeRouter remembers what it was told, and in which order.
type fakeRouter struct {
	mu    sync.Mutex // guards what follows
	paths map[bgp.PathKey]bgp.Path
	peers map[bgp.PeerName]bgp.Peer
	held  map[bgp.PeerName]string
	// incomplete are peers that were said while there was no path.
	incomplete []string
	// expected are the peers that were said before paths could be.
	expected []bgp.PeerName
	calls    int
	// advertised counts paths, also those that were withdrawn.
	advertised int
	draining   bool
}

func newFakeRouter() *fakeRouter {
	return &fakeRouter{paths: make(map[bgp.PathKey]bgp.Path), held: make(map[bgp.PeerName]string)}
}

func (f *fakeRouter) Advertise(k bgp.PathKey, p bgp.Path) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	f.advertised++
	f.paths[k] = p
	return nil
}

func (f *fakeRouter) Withdraw(k bgp.PathKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	delete(f.paths, k)
}

func (f *fakeRouter) Peers(peers map[bgp.PeerName]bgp.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for name := range peers {
		if _, ok := f.peers[name]; !ok && len(f.paths) == 0 {
			f.incomplete = append(f.incomplete, string(name))
		}
	}
	f.peers = peers
}

func (f *fakeRouter) Expect(peers map[bgp.PeerName]bgp.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	f.expected = slices.Sorted(maps.Keys(peers))
}

func (f *fakeRouter) Drain(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = on
}

func (f *fakeRouter) Hold(name bgp.PeerName, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[name] = reason
}

func (f *fakeRouter) Release(name bgp.PeerName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, name)
}

// table lists what is advertised, in words.
func (f *fakeRouter) table() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := []string{}
	for k, p := range f.paths {
		line := fmt.Sprintf("%s to %s", k.Prefix, k.Peer)
		if p.LocalPref != 0 {
			line += fmt.Sprintf(" localPref %d", p.LocalPref)
		}
		for _, c := range p.Communities {
			line += fmt.Sprintf(" %d:%d", c>>16, c&0xffff)
		}
		for _, c := range p.LargeCommunities {
			line += fmt.Sprintf(" %d:%d:%d", c.GlobalAdministrator, c.LocalData1, c.LocalData2)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func (f *fakeRouter) takeCalls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.calls
	f.calls = 0
	return n
}

// fakeBFD remembers the sessions it was told of.
type fakeBFD struct {
	mu       sync.Mutex // guards what follows
	sessions map[bfd.Path]bfd.Config
	// heard is the detection time of all of them.
	heard time.Duration
}

func (f *fakeBFD) Status(p bfd.Path) (bfd.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.sessions[p]
	return bfd.Status{State: bfd.Down, DetectionTime: f.heard}, ok
}

func (f *fakeBFD) hear(every time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = every
}

func (f *fakeBFD) Set(p bfd.Path, c bfd.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Multihop && p.Interface != "" {
		return errors.New("no such path")
	}
	f.sessions[p] = c
	return nil
}

func (f *fakeBFD) Remove(p bfd.Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, p)
}

// fakeBGPStatusAPI keeps ServiceBGPStatus objects.
type fakeBGPStatusAPI struct {
	mu      sync.Mutex // guards what follows
	objects map[string]*v1beta1.ServiceBGPStatus
	next    int
	patches int
}

func (f *fakeBGPStatusAPI) Create(_ context.Context, namespace string, o *v1beta1.ServiceBGPStatus) (*v1beta1.ServiceBGPStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	o = o.DeepCopy()
	o.Namespace, o.Name, o.UID = namespace, fmt.Sprintf("%s%d", o.GenerateName, f.next), types.UID(fmt.Sprint(f.next))
	f.objects[o.Name] = o
	return o.DeepCopy(), nil
}

func (f *fakeBGPStatusAPI) PatchStatus(_ context.Context, _, name string, kind types.PatchType, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.patches++
	now := f.objects[name].DeepCopy()
	if err := json.Unmarshal(body, now); err != nil || kind != types.MergePatchType {
		return fmt.Errorf("patch %s of kind %s: %w", body, kind, err)
	}
	f.objects[name] = now
	return nil
}

func (f *fakeBGPStatusAPI) Delete(_ context.Context, _, name string, _ types.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, name)
	return nil
}

func (f *fakeBGPStatusAPI) ListMetadata(context.Context, string, string) ([]metav1.ObjectMeta, error) {
	return nil, nil
}

// lines lists the objects, in words.
func (f *fakeBGPStatusAPI) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := []string{}
	for _, o := range f.objects {
		lines = append(lines, fmt.Sprintf("%s/%s on %s to %s of %s", o.Labels[v1beta1.LabelServiceNamespace], o.Status.ServiceName,
			o.Status.Node, strings.Join(o.Status.Peers, ","), o.OwnerReferences[0].Name))
	}
	slices.Sort(lines)
	return lines
}

// bgpSpeaker is a speaker with BGP.
type bgpSpeaker struct {
	*speaker
	router *fakeRouter
	bfd    *fakeBFD
	bgpAPI *fakeBGPStatusAPI
}

// inBGP runs f with a speaker on node a that knows a pool, two peers and their
// advertisements, and has settled.
func inBGP(t *testing.T, f func(s *bgpSpeaker)) {
	t.Helper()
	inUnsettledBGP(t, func(s *bgpSpeaker) {
		s.settle()
		f(s)
	})
}

// inUnsettledBGP is inBGP with a speaker that still waits.
func inUnsettledBGP(t *testing.T, f func(s *bgpSpeaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &bgpSpeaker{
			router: newFakeRouter(), bfd: &fakeBFD{sessions: make(map[bfd.Path]bfd.Config), heard: time.Second},
			bgpAPI: &fakeBGPStatusAPI{objects: make(map[string]*v1beta1.ServiceBGPStatus)},
		}
		var statuses *Statuses
		s.speaker = newSpeaker(t, "a", newFakeStatusAPI(), func(c *Config) {
			statuses = NewBGPStatuses(StatusOwner{Node: "a", Namespace: "system", PodName: "speaker-a", PodUID: "pod-of-a"}, s.bgpAPI, c.Log)
			c.Configuration = []kube.Syncer{&synced{is: true}}
			c.BGP = &BGP{Router: s.router, Guards: NewGuards(s.bfd, s.router, c.Log), Statuses: statuses}
		})
		s.inventory.OnPool(nil, pool("192.0.2.0/24", "2001:db8::/64"))
		s.inventory.OnNode(nil, node("a"))
		s.inventory.OnBGPPeer(nil, peer("left", "10.9.0.1"))
		s.inventory.OnBGPPeer(nil, peer("right", "10.9.0.2"))
		s.inventory.OnBGPAdvertisement(nil, bgpAdvertisement("all"))
		stop := s.start()
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = statuses.Run(ctx) })
		group.Go(func() { _ = s.BGP.Guards.Run(ctx) })
		add(s.inventory, "web", "192.0.2.1")
		f(s)
		cancel()
		group.Wait()
		stop()
	})
}

func peer(name, address string) *v1beta2.BGPPeer {
	return &v1beta2.BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: name, UID: types.UID("peer-" + name), Generation: 1},
		Spec:       v1beta1.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, Address: address},
	}
}

func bgpAdvertisement(name string) *v1beta1.BGPAdvertisement {
	return &v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: name, UID: types.UID("ad-" + name), Generation: 1}}
}

// changed returns a copy of an object of the next generation.
func changed[T any, P interface {
	*T
	DeepCopy() P
	GetGeneration() int64
	SetGeneration(int64)
}](o P, change func(P)) P {
	now := o.DeepCopy()
	now.SetGeneration(o.GetGeneration() + 1)
	change(now)
	return now
}

func (s *bgpSpeaker) expectTable(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), s.router.table()); diff != "" {
		s.t.Errorf("advertised (-want +got):\n%s", diff)
	}
}

func (s *bgpSpeaker) expectBGPStatuses(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), s.bgpAPI.lines()); diff != "" {
		s.t.Errorf("ServiceBGPStatuses (-want +got):\n%s", diff)
	}
}

// What is advertised, told and reported follows a Service from its birth to its end,
// each thing once.
func TestAdvertiseService(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right")
		s.expectBGPStatuses("default/web on a to left,right of speaker-a")
		s.expectEvents("default/web nodeAssigned uid-web")
		if len(s.router.incomplete) > 0 {
			s.t.Errorf("peers %v were said before paths", s.router.incomplete)
		}
		s.expectAnnounced() // there is no L2Advertisement
		s.router.takeCalls()

		add(s.inventory, "db", "192.0.2.2")
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left", "192.0.2.1/32 to right", "192.0.2.2/32 to left", "192.0.2.2/32 to right")
		s.expectEvents("default/db nodeAssigned uid-db")
		if n := s.router.takeCalls(); n != 2 {
			s.t.Errorf("%d calls of the router for one Service and two peers; want 2", n)
		}
		s.inventory.OnEndpointSlice(slice("db", "a"), slice("db", "a", "b"))
		s.quiesce()
		s.expectEvents()
		if n := s.router.takeCalls(); n != 0 {
			s.t.Errorf("%d calls of the router for nothing", n)
		}

		s.inventory.OnEndpointSlice(slice("web", "a"), slice("web"))
		s.quiesce()
		s.expectTable("192.0.2.2/32 to left", "192.0.2.2/32 to right")
		s.expectBGPStatuses("default/db on a to left,right of speaker-a")
		s.inventory.OnService(service("db", "192.0.2.2"), nil)
		s.quiesce()
		s.expectTable()
		s.expectBGPStatuses()
		s.expectEvents()
	})
}

func TestConfigurationOfBGPChanges(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.expectEvents("default/web nodeAssigned uid-web")
		narrow := changed(bgpAdvertisement("all"), func(a *v1beta1.BGPAdvertisement) {
			a.Spec.Peers, a.Spec.LocalPref, a.Spec.Communities = []string{"left"}, 200, []string{"gold", "large:1:2:3"}
		})
		s.inventory.OnBGPAdvertisement(bgpAdvertisement("all"), narrow)
		s.quiesce()
		s.expectTable() // the alias is not defined yet
		s.inventory.OnCommunity(nil, &v1beta1.Community{
			ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "c", UID: "c"},
			Spec:       v1beta1.CommunitySpec{Communities: []v1beta1.CommunityAlias{{Name: "gold", Value: "64512:7"}}},
		})
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left localPref 200 64512:7 1:2:3")
		s.expectBGPStatuses("default/web on a to left of speaker-a")
		s.expectEvents("default/web nodeAssigned uid-web")

		other := bgpAdvertisement("other")
		other.Spec.LocalPref, other.CreationTimestamp = 300, metav1.NewTime(time.Now())
		s.inventory.OnBGPAdvertisement(nil, other)
		s.quiesce()
		s.expectTable("192.0.2.1/32 to left localPref 200 64512:7 1:2:3", "192.0.2.1/32 to right localPref 300")
		s.expectEvents("default/web conflictingAdvertisements uid-web", "system/other Conflict ad-other")

		s.inventory.OnBGPPeer(peer("left", "10.9.0.1"), nil)
		s.quiesce()
		s.expectTable("192.0.2.1/32 to right localPref 300")
		if names := slices.Collect(maps.Keys(s.router.peers)); !slices.Equal(names, []bgp.PeerName{"right"}) {
			s.t.Errorf("peers %v", names)
		}
		n := node("a")
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue}}
		s.inventory.OnNode(node("a"), n)
		s.quiesce()
		s.expectTable()
		if len(s.router.peers) != 1 {
			s.t.Errorf("%d peers of a node without network; want the session kept", len(s.router.peers))
		}
	})
}

// What only speakers can see is told in Events on the objects, each thing once.
func TestComplaints(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.expectEvents("default/web nodeAssigned uid-web")
		twin := peer("twin", "10.9.0.1")
		twin.CreationTimestamp = metav1.NewTime(time.Now())
		s.inventory.OnBGPPeer(nil, twin)
		locked := peer("locked", "10.9.0.3")
		locked.Spec.PasswordSecret.Name = "nowhere"
		s.inventory.OnBGPPeer(nil, locked)
		for i, name := range []string{"first", "second"} {
			ad := bgpAdvertisement(name)
			ad.Spec.LocalPref, ad.CreationTimestamp = uint32(i+1), metav1.NewTime(time.Now().Add(time.Duration(i)*time.Hour))
			s.inventory.OnBGPAdvertisement(nil, ad)
		}
		s.quiesce()
		s.expectEvents("default/web conflictingAdvertisements uid-web", "system/locked UnknownReference peer-locked",
			"system/second Conflict ad-second", "system/twin Conflict peer-twin")
		s.inventory.OnNode(nil, node("b"))
		s.quiesce()
		s.expectEvents()
		s.members.set("0", "a") // another speaks for all now
		s.inventory.OnBGPPeer(locked, nil)
		s.inventory.OnBGPPeer(nil, locked)
		s.quiesce()
		s.expectEvents()
	})
}

// A password may come, change and go with its Secret; the peer follows.
func TestPasswordFromSecret(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		secret := func(version, password string) *corev1.Secret {
			return &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "md5", UID: "md5", ResourceVersion: version},
				Type:       corev1.SecretTypeBasicAuth, Data: map[string][]byte{"password": []byte(password)},
			}
		}
		password := func() string {
			s.quiesce()
			s.router.mu.Lock()
			defer s.router.mu.Unlock()
			p, ok := s.router.peers["left"]
			return fmt.Sprintf("%t %s", ok, string(p.Password))
		}
		s.inventory.OnBGPPeer(peer("left", "10.9.0.1"), changed(peer("left", "10.9.0.1"), func(p *v1beta2.BGPPeer) {
			p.Spec.PasswordSecret.Name = "md5"
		}))
		steps := []struct {
			old, now *corev1.Secret
			want     string
		}{
			{nil, nil, "false "},
			{nil, secret("1", "one"), "true one"},
			{secret("1", "one"), secret("2", "two"), "true two"},
			{secret("2", "two"), nil, "false "},
		}
		for i, step := range steps {
			if step.old != nil || step.now != nil {
				s.inventory.OnSecret(step.old, step.now)
			}
			if got := password(); got != step.want {
				s.t.Errorf("step %d: peer and password %q; want %q", i, got, step.want)
			}
		}
	})
}

func TestTrimSecret(t *testing.T) {
	t.Parallel()
	other := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte("x")}}
	TrimSecret(other)
	ours := &corev1.Secret{Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"password": []byte("x"), "username": []byte("y")}}
	TrimSecret(ours)
	if len(other.Data) != 0 || len(ours.Data) != 1 || string(ours.Data["password"]) != "x" {
		t.Errorf("kept %v and %v", other.Data, ours.Data)
	}
}

func TestBFDGuardsPeer(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		s.inventory.OnBFDProfile(nil, &v1beta1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "fast", UID: "fast"}})
		guarded := changed(peer("left", "10.9.0.1"), func(p *v1beta2.BGPPeer) { p.Spec.BFDProfile = "fast" })
		s.inventory.OnBGPPeer(peer("left", "10.9.0.1"), guarded)
		s.quiesce()
		if len(s.bfd.sessions) > 0 {
			s.t.Errorf("guarded before there was a session: %v", s.bfd.sessions)
		}
		s.BGP.Guards.Meet("left", netip.MustParseAddr("10.9.0.1"))
		path := bfd.Path{Peer: netip.MustParseAddr("10.9.0.1")}
		want := map[bfd.Path]bfd.Config{path: {
			TransmitInterval: 300 * time.Millisecond, ReceiveInterval: 300 * time.Millisecond, DetectMultiplier: 3,
			EchoInterval: 50 * time.Millisecond, MinimumTTL: 254,
		}}
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(s.bfd.sessions)); diff != "" {
			s.t.Fatalf("BFD sessions (-want +got):\n%s", diff)
		}
		change := func(previous, state, remote bfd.State) {
			s.BGP.Guards.OnChange(bfd.Change{Path: path, Previous: previous, Status: bfd.Status{State: state, RemoteState: remote}})
		}
		expectHeld := func(when string, want int) {
			s.t.Helper()
			s.router.mu.Lock()
			defer s.router.mu.Unlock()
			if len(s.router.held) != want {
				s.t.Errorf("%s: held %v", when, s.router.held)
			}
		}
		change(bfd.Down, bfd.Down, bfd.Down)
		expectHeld("never up", 0)
		change(bfd.Down, bfd.Up, bfd.Up)
		change(bfd.Up, bfd.Down, bfd.AdminDown)
		expectHeld("administratively down", 0)
		change(bfd.Down, bfd.Up, bfd.Up)
		change(bfd.Up, bfd.Down, bfd.Down)
		expectHeld("failed", 1)
		change(bfd.Down, bfd.Init, bfd.Down)
		time.Sleep(time.Minute) // fake
		synctest.Wait()
		expectHeld("heard for a minute, but not up", 1)
		change(bfd.Init, bfd.Up, bfd.Up)
		expectHeld("up", 0)
		change(bfd.Up, bfd.Down, bfd.Down)
		s.bfd.hear(0)
		time.Sleep(silence - time.Second) // fake
		synctest.Wait()
		expectHeld("silent for a while", 1)
		time.Sleep(3 * time.Second) // fake
		synctest.Wait()
		expectHeld("silent", 0)
		if len(s.bfd.sessions) > 0 {
			s.t.Errorf("a peer that was let go is not to be guarded before there is a session: %v", s.bfd.sessions)
		}
		s.BGP.Guards.Meet("left", netip.MustParseAddr("10.9.0.1"))
		s.bfd.hear(time.Second)
		change(bfd.Down, bfd.Up, bfd.Up)
		change(bfd.Up, bfd.Down, bfd.Down)
		expectHeld("failed again", 1)
		s.inventory.OnBGPPeer(guarded, peer("left", "10.9.0.1"))
		s.quiesce()
		expectHeld("no longer guarded", 0)
		if len(s.bfd.sessions) > 0 {
			s.t.Errorf("BFD sessions that nobody wants: %v", s.bfd.sessions)
		}
	})
}

// An unnumbered peer is guarded once it has been found, and where it was found last.
func TestBFDGuardsUnnumberedPeer(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		unnumbered := peer("link", "")
		unnumbered.Spec.Interface, unnumbered.Spec.BFDProfile = "eth1", "fast"
		s.inventory.OnBGPPeer(nil, unnumbered)
		s.quiesce()
		if len(s.bfd.sessions) > 0 {
			s.t.Errorf("guarded before it was found: %v", s.bfd.sessions)
		}
		source := &fakeSessions{}
		sessions := NewSessions(SessionsConfig{
			Node: "a", Source: source, Guards: s.BGP.Guards, Inventory: s.inventory, Events: s.events, Diagnosed: s.BGP.Statuses,
		})
		for _, at := range []string{"fe80::1%eth1", "fe80::2%eth1", ""} {
			found := bgp.Session{Peer: bgp.Peer{Interface: "eth1"}, State: bgp.Idle}
			want := bfd.Path{Peer: netip.MustParseAddr("fe80::2"), Interface: "eth1"}
			if at != "" {
				found.Remote = netip.MustParseAddr(at)
				found.State, want.Peer = bgp.Established, found.Remote.WithZone("")
			}
			source.sessions = map[bgp.PeerName]bgp.Session{"link": found}
			sessions.look(time.Now())
			if _, ok := s.bfd.sessions[want]; !ok || len(s.bfd.sessions) != 1 {
				s.t.Errorf("at %q guarded are %v; want %v", at, s.bfd.sessions, want)
			}
		}
	})
}

// fakeSessions are sessions that the test changes.
type fakeSessions struct {
	changed chan struct{}

	mu       sync.Mutex // guards sessions
	sessions map[bgp.PeerName]bgp.Session
}

func (f *fakeSessions) Changed() <-chan struct{} { return f.changed }

func (f *fakeSessions) Snapshot() map[bgp.PeerName]bgp.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sessions)
}

func TestSessionEvents(t *testing.T) {
	t.Parallel()
	inventory, events, source := NewInventory(""), new(fakeEvents), &fakeSessions{}
	inventory.OnBGPPeer(nil, peer("left", "10.9.0.1"))
	s := NewSessions(SessionsConfig{
		Node: "a", Source: source, Guards: NewGuards(&fakeBFD{}, nil, slog.New(slog.DiscardHandler)), Inventory: inventory, Events: events,
		Diagnosed: NewBGPStatuses(StatusOwner{}, nil, nil),
	})
	refused := bgp.Notification{Time: time.Unix(100, 0), Received: true, Code: 2, Subcode: 2}
	ended := bgp.Notification{Time: time.Unix(210, 0), Received: true, Code: 6, Subcode: 2}
	malformed := bgp.Notification{Time: time.Unix(300, 0), Code: 1, Subcode: 3}
	at := func(second int64, state bgp.State, n bgp.Notification) bgp.Session {
		return bgp.Session{State: state, Since: time.Unix(second, 0), LastNotification: n}
	}
	for i, step := range []struct {
		session bgp.Session
		want    string
	}{
		{at(1, bgp.Active, bgp.Notification{}), ""},
		{at(100, bgp.Idle, refused), "SessionFailed"},
		{at(101, bgp.Active, refused), ""},
		{at(130, bgp.Active, refused), ""}, // long ago
		{at(131, bgp.Idle, bgp.Notification{Time: time.Unix(131, 0), Received: true, Code: 2, Subcode: 2}), ""},
		{at(140, bgp.Established, refused), "SessionEstablished"},
		{at(141, bgp.Established, refused), ""},
		{at(200, bgp.Idle, refused), "SessionDown"},
		{at(210, bgp.Idle, ended), "SessionFailed"},
		{bgp.Session{State: bgp.Idle, Since: time.Unix(211, 0), LastNotification: ended, Problem: errors.New("closed")}, "SessionFailed"},
		{at(212, bgp.Active, ended), ""}, // still the same one
		{bgp.Session{State: bgp.Idle, Since: time.Unix(213, 0), LastNotification: ended, Problem: errors.New("closed")}, ""},
		{at(300, bgp.Established, ended), "SessionEstablished"},
		{at(300, bgp.Established, malformed), ""}, // the session is about to go
		{at(310, bgp.Idle, malformed), "SessionDown"},
		{bgp.Session{State: bgp.Idle, Held: "BFD down"}, "SessionFailed"},
		{bgp.Session{State: bgp.Established, Problem: errors.New("no next hop")}, "SessionEstablished"},
		{bgp.Session{State: bgp.Established, Problem: errors.New("no next hop")}, "SessionFailed"},
		{bgp.Session{State: bgp.Established, Problem: errors.New("no next hop")}, ""},
	} {
		source.sessions = map[bgp.PeerName]bgp.Session{"left": step.session}
		s.look(time.Now())
		want := []string{}
		if step.want != "" {
			want = append(want, "system/left "+step.want+" peer-left")
		}
		if diff := cmp.Diff(want, append([]string{}, events.take()...)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		if said := events.said; step.want == "SessionDown" && step.session.LastNotification == malformed && !strings.Contains(said, malformed.String()) {
			t.Errorf("step %d: said %q, want the NOTIFICATION", i, said)
		}
	}
}

// Every field of a peer arrives in the router's words.
func TestPeerInRouterWords(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		full := peer("full", "2001:db8:9::1")
		full.Spec = v1beta1.BGPPeerSpec{
			MyASN: 64512, LocalASN: 64600, DynamicASN: v1beta1.DynamicASNExternal, Address: "2001:db8:9::1",
			SrcAddress: "2001:db8:9::2", Port: 1790, HoldTime: &metav1.Duration{}, ConnectTime: &metav1.Duration{Duration: 5 * time.Second},
			RouterID: "10.0.0.9", Password: "x", EBGPMultiHop: true, VRFName: "red", EnableGracefulRestart: true, DualStackAddressFamily: true,
		}
		s.inventory.OnBGPPeer(nil, full)
		s.quiesce()
		want := bgp.Peer{
			Address: netip.MustParseAddr("2001:db8:9::1"), Port: 1790, Source: netip.MustParseAddr("2001:db8:9::2"), Device: "red",
			LocalASN: 64600, Mode: bgp.ASNExternal, RouterID: netip.MustParseAddr("10.0.0.9"), NoHoldTime: true,
			ConnectRetry: 5 * time.Second, Password: "x", MultihopTTL: 255, GracefulRestart: true,
			Families: bgp.IPv4Unicast | bgp.IPv6Unicast,
		}
		if got := s.router.peers["full"]; got != want {
			s.t.Errorf("peer %+v; want %+v", got, want)
		}
		if id := s.router.peers["left"].RouterID; id != want.RouterID {
			s.t.Errorf("router ID %s towards another peer; a node has one", id)
		}
	})
}
