// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// randomBGP returns BGP objects in a random order whose names, ages, addresses and
// references are few, so that they collide in every way.
func randomBGP(random *rand.Rand) lb.Objects {
	meta := func(kind string, i int) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Name: fmt.Sprint(kind, "-", i), Namespace: "metallb-system",
			CreationTimestamp: metav1.NewTime(created.Add(time.Duration(random.IntN(3)) * time.Second)),
		}
	}
	o := lb.Objects{Pools: randomPools(random), Secrets: map[string]*corev1.Secret{
		"s-0": {Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"password": []byte("x")}}, "s-1": {},
	}}
	for i := range random.IntN(3) {
		o.BFDProfiles = append(o.BFDProfiles, &v1beta1.BFDProfile{ObjectMeta: meta("bfd", i)})
		o.Communities = append(o.Communities, &v1beta1.Community{ObjectMeta: meta("c", i), Spec: v1beta1.CommunitySpec{
			Communities: []v1beta1.CommunityAlias{{Name: "x", Value: fmt.Sprintf("1:%d", i)}, {Name: fmt.Sprint("y", i), Value: "2:2"}},
		}})
	}
	for i := range random.IntN(5) {
		o.BGPPeers = append(o.BGPPeers, &v1beta2.BGPPeer{ObjectMeta: meta("peer", i), Spec: randomPeer(random)})
	}
	for i := range random.IntN(5) {
		o.BGPAdvertisements = append(o.BGPAdvertisements, &v1beta1.BGPAdvertisement{
			ObjectMeta: meta("ad", i), Spec: randomAdvertisement(random),
		})
	}
	return o
}

func randomPeer(random *rand.Rand) v1beta1.BGPPeerSpec {
	s := v1beta1.BGPPeerSpec{
		MyASN: uint32(1 + random.IntN(2)), PeerASN: uint32(random.IntN(3)), Address: fmt.Sprintf("192.0.2.%d", random.IntN(3)),
		NodeSelectors: randomSelectors(random, "rack"),
	}
	if random.IntN(3) == 0 {
		s.RouterID = fmt.Sprintf("10.0.0.%d", 1+random.IntN(2))
	}
	if random.IntN(3) == 0 {
		s.BFDProfile = fmt.Sprint("bfd-", random.IntN(3))
	}
	if random.IntN(3) == 0 {
		s.PasswordSecret.Name = fmt.Sprint("s-", random.IntN(3))
	}
	return s
}

func randomAdvertisement(random *rand.Rand) v1beta1.BGPAdvertisementSpec {
	length := int32(20 + random.IntN(13))
	s := v1beta1.BGPAdvertisementSpec{
		AggregationLength: &length, LocalPref: uint32(random.IntN(3)), NodeSelectors: randomSelectors(random, "rack"),
	}
	if length == 32 {
		s.ServiceSelectors = randomSelectors(random, "app")
	}
	for i := range 3 {
		if random.IntN(4) == 0 {
			s.Peers = append(s.Peers, fmt.Sprint("peer-", i))
		}
		if random.IntN(4) == 0 {
			s.IPAddressPools = append(s.IPAddressPools, fmt.Sprint("pool-", i))
		}
	}
	s.Communities = slices.DeleteFunc([]string{"x", "y0", "y1", "2:2"}, func(string) bool { return random.IntN(3) > 0 })
	return s
}

func randomSelectors(random *rand.Rand, key string) []v1beta1.LabelSelector {
	var selectors []v1beta1.LabelSelector
	for i := range 2 {
		if random.IntN(3) == 0 {
			selectors = append(selectors, v1beta1.LabelSelector{MatchLabels: map[string]v1beta1.LabelValue{key: v1beta1.LabelValue(fmt.Sprint(i))}})
		}
	}
	return selectors
}

func racks() []lb.Node {
	return []lb.Node{
		{Name: "n-0", Labels: labels.Set{"rack": "0"}}, {Name: "n-1", Labels: labels.Set{"rack": "1"}}, {Name: "n-2"},
	}
}

// renderNodes shows what becomes of the peers on each node, and what is told.
func renderNodes(config lb.Config, nodes []lb.Node) string {
	var b strings.Builder
	for i := range nodes {
		peers, _ := config.PeersOn(&nodes[i])
		fmt.Fprintf(&b, "%s: AS %d, router ID %s:", nodes[i].Name, peers.ASN, text(peers.RouterID))
		for _, p := range peers.Peers {
			b.WriteString(" " + p.Name)
		}
		b.WriteString("\n")
	}
	for _, p := range config.ProblemsOn(nodes) {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// Neither what is made of BGP objects nor what becomes of them on nodes depends on the
// order in which they arrive.
func TestBGPIgnoresOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 11))
		objects, nodes := randomBGP(random), racks()
		config, problems := lb.ParseConfig(objects)
		checkSound(t, config, problems)
		checkMeeting(t, config, nodes)
		want, wantNodes := render(config, problems), renderNodes(config, nodes)
		shuffle(random, objects.BGPPeers)
		shuffle(random, objects.BGPAdvertisements)
		shuffle(random, objects.Communities)
		shuffle(random, objects.BFDProfiles)
		other, problems := lb.ParseConfig(objects)
		if diff := gocmp.Diff(want, render(other, problems)); diff != "" {
			t.Fatalf("seed %d: parsed in two orders (-one +other):\n%s", seed, diff)
		}
		if diff := gocmp.Diff(wantNodes, renderNodes(other, nodes)); diff != "" {
			t.Fatalf("seed %d: peers of nodes in two orders (-one +other):\n%s", seed, diff)
		}
	}
}

// checkMeeting checks what holds of the peers of every node: no two at one end, one AS
// per VRF, one router ID; and who selects the node and is left out is told, unless a
// peer that is older is not in its way.
func checkMeeting(t *testing.T, config lb.Config, nodes []lb.Node) {
	t.Helper()
	for i := range nodes {
		peers, problems := config.PeersOn(&nodes[i])
		ends := map[string]bool{}
		for _, p := range peers.Peers {
			at := p.VRF + p.Interface + p.Address.String()
			if ends[at] || !p.On(nodes[i].Labels) || p.VRF == "" && p.MyASN != peers.ASN ||
				p.RouterID.IsValid() && p.RouterID != peers.RouterID {
				t.Errorf("%s has %s, which does not fit the others: %+v", nodes[i].Name, p.Name, peers)
			}
			ends[at] = true
		}
		selected := 0
		for j := range config.Peers {
			if config.Peers[j].On(nodes[i].Labels) {
				selected++
			}
		}
		if len(peers.Peers)+len(problems) != selected {
			t.Errorf("%s: %d peers select it, %d are used and %d told why not", nodes[i].Name, selected, len(peers.Peers), len(problems))
		}
	}
}

func peerAt(name string, age int, address string, myASN uint32) lb.Peer {
	return lb.Peer{
		Name: name, Created: created.Add(-time.Duration(age) * time.Hour), MyASN: myASN, ASN: 64500,
		Address: netip.MustParseAddr(address),
	}
}

func TestPeersOn(t *testing.T) {
	t.Parallel()
	on := func(rack string, p lb.Peer) lb.Peer {
		p.NodeSelectors = []labels.Selector{labels.SelectorFromSet(labels.Set{"rack": rack})}
		return p
	}
	id := func(a string, p lb.Peer) lb.Peer {
		p.RouterID = netip.MustParseAddr(a)
		return p
	}
	vrf := func(name string, p lb.Peer) lb.Peer {
		p.VRF = name
		return p
	}
	for _, tt := range []struct {
		name  string
		peers []lb.Peer
		want  string
	}{
		{"none", nil, "n-0: AS 0, router ID :\nn-1: AS 0, router ID :\nn-2: AS 0, router ID :\n"},
		{
			"same address on other nodes",
			[]lb.Peer{on("0", peerAt("a", 1, "192.0.2.1", 1)), on("1", peerAt("b", 2, "192.0.2.1", 2))},
			"n-0: AS 1, router ID : a\nn-1: AS 2, router ID : b\nn-2: AS 0, router ID :\n",
		},
		{
			"same address on one node",
			[]lb.Peer{peerAt("a", 1, "192.0.2.1", 1), on("1", peerAt("b", 2, "192.0.2.1", 1))},
			"n-0: AS 1, router ID : a\nn-1: AS 1, router ID : b\nn-2: AS 1, router ID : a\n" +
				`BGPPeer a: spec.peerAddress: the older BGPPeer "b" has the same address or interface on node "n-1"; ` +
				"give them nodeSelectors that do not overlap, or delete one\n",
		},
		{
			"same address in another VRF, with another number",
			[]lb.Peer{vrf("red", peerAt("a", 2, "192.0.2.1", 1)), peerAt("b", 1, "192.0.2.1", 2)},
			"n-0: AS 2, router ID : a b\nn-1: AS 2, router ID : a b\nn-2: AS 2, router ID : a b\n",
		},
		{
			"two numbers",
			[]lb.Peer{peerAt("a", 1, "192.0.2.1", 1), on("1", peerAt("b", 2, "192.0.2.2", 2))},
			"n-0: AS 1, router ID : a\nn-1: AS 2, router ID : b\nn-2: AS 1, router ID : a\n" +
				`BGPPeer a: spec.myASN: the older BGPPeer "b" says that node "n-1" is in AS 2, and not in 1; ` +
				"correct one of them, or use localASN to show another number to one peer\n",
		},
		{
			"two router IDs, and one that does not care",
			[]lb.Peer{
				id("10.0.0.1", peerAt("a", 1, "192.0.2.1", 1)), on("0", id("10.0.0.2", peerAt("b", 2, "192.0.2.2", 1))),
				peerAt("c", 3, "192.0.2.3", 1),
			},
			"n-0: AS 1, router ID 10.0.0.2: b c\nn-1: AS 1, router ID 10.0.0.1: a c\nn-2: AS 1, router ID 10.0.0.1: a c\n" +
				`BGPPeer a: spec.routerID: the older BGPPeer "b" gives node "n-0" the router ID 10.0.0.2, and a node has only one; ` +
				"correct one of them\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := gocmp.Diff(tt.want, renderNodes(lb.Config{Peers: tt.peers}, racks())); diff != "" {
				t.Errorf("peers of the nodes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPreferenceConflicts(t *testing.T) {
	t.Parallel()
	type ad = lb.BGPAdvertisement
	set := func(names ...string) map[string]struct{} {
		s := map[string]struct{}{}
		for _, n := range names {
			s[n] = struct{}{}
		}
		return s
	}
	rack := func(n string) []labels.Selector {
		return []labels.Selector{labels.SelectorFromSet(labels.Set{"rack": n})}
	}
	for _, tt := range []struct {
		name   string
		change func(older, younger *ad)
		want   bool
	}{
		{"same everything", func(_, _ *ad) {}, true},
		{"same preference", func(o, y *ad) { y.LocalPref = o.LocalPref }, false},
		{"no preference", func(_, y *ad) { y.LocalPref = 0 }, false},
		{"other pool", func(_, y *ad) { y.Pools = set("q") }, false},
		{"other length", func(_, y *ad) { y.Aggregation4 = 31 }, false},
		{"both lengths do not fit", func(o, y *ad) { y.Aggregation4, o.Aggregation4 = 20, 16 }, true},
		{"other peer", func(o, y *ad) { o.Peers, y.Peers = set("p"), set("q") }, false},
		{"nobody", func(o, _ *ad) { o.Peers = set() }, false},
		{"all peers and one", func(o, _ *ad) { o.Peers = set("p") }, true},
		{"other nodes", func(o, y *ad) { o.NodeSelectors, y.NodeSelectors = rack("0"), rack("1") }, false},
		{"some nodes", func(o, _ *ad) { o.NodeSelectors = rack("0") }, true},
		{"some Services", func(o, _ *ad) { o.ServiceSelectors = rack("0") }, true},
		{"Services of both", func(o, y *ad) { o.ServiceSelectors, y.ServiceSelectors = rack("0"), rack("0") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			older := ad{Name: "older", Pools: set("p"), Aggregation4: 24, Aggregation6: 128, LocalPref: 100}
			younger := ad{Name: "younger", Pools: set("p"), Aggregation4: 24, Aggregation6: 64, LocalPref: 200}
			tt.change(&older, &younger)
			config := lb.Config{
				Pools: []lb.Pool{
					{Name: "p", Ranges: []lb.Range{lb.RangeOf(netip.MustParsePrefix("10.0.0.0/24"))}},
					{Name: "q", Ranges: []lb.Range{lb.RangeOf(netip.MustParsePrefix("10.0.1.0/24"))}},
				},
				Peers:             []lb.Peer{peerAt("p", 1, "192.0.2.1", 1), peerAt("q", 1, "192.0.2.2", 1)},
				BGPAdvertisements: []ad{older, younger},
			}
			problems := config.ProblemsOn(racks())
			if got := len(problems) > 0; got != tt.want {
				t.Errorf("problems: %v; want some: %v", problems, tt.want)
			}
			for _, p := range problems {
				if p.Object.Name != "younger" || p.Reason != lb.ReasonConflict || p.Fatal {
					t.Errorf("problem %+v; want a conflict of the younger one", p)
				}
			}
		})
	}
}

func TestPasswordIsHidden(t *testing.T) {
	t.Parallel()
	peer := lb.Peer{Name: "p", Password: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, peer); strings.Contains(s, "hunter2") {
			t.Errorf("%s tells the password: %s", format, s)
		}
	}
	if peer.Password.Reveal() != "hunter2" || lb.Password("").String() != "none" {
		t.Error("a password must be had when asked for, and its absence be seen")
	}
}

// The Secrets may be unknown, as they are to the controller: then the reference is not
// followed, and not told to be wrong.
func TestUnknownSecretsAreNotFollowed(t *testing.T) {
	t.Parallel()
	peer := &v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1beta1.BGPPeerSpec{
		MyASN: 1, PeerASN: 2, Address: "192.0.2.1", PasswordSecret: v1beta1.SecretReference{Name: "s"},
	}}
	config, problems := lb.ParseConfig(lb.Objects{BGPPeers: []*v1beta2.BGPPeer{peer}})
	if len(problems) > 0 || len(config.Peers) != 1 {
		t.Errorf("without Secrets: %d peers, problems %v", len(config.Peers), problems)
	}
	config, problems = lb.ParseConfig(lb.Objects{BGPPeers: []*v1beta2.BGPPeer{peer}, Secrets: map[string]*corev1.Secret{}})
	if len(problems) != 1 || len(config.Peers) != 0 {
		t.Errorf("with no Secret of that name: %d peers, problems %v", len(config.Peers), problems)
	}
}

// FuzzParseCommunity: what is read is written in a form that reads as the same.
func FuzzParseCommunity(f *testing.F) {
	for _, s := range []string{"64512:100", "large:1:2:3", "0:0", "large:4294967295:0:0", "00001:2", "1", "", "large:1:2:3:4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := lb.ParseCommunity(s)
		if err != nil {
			if c != (lb.Community{}) || !strings.Contains(err.Error(), "not a community") {
				t.Errorf("%q: %v with error %v", s, c, err)
			}
			return
		}
		again, err := lb.ParseCommunity(c.String())
		if err != nil || again != c || c.Compare(again) != 0 {
			t.Errorf("%q reads as %v, and that as %v (%v)", s, c, again, err)
		}
		parts, large := c.Large()
		bits, standard := c.Standard()
		if large == standard {
			t.Errorf("%q is large: %v, standard: %v", s, large, standard)
		}
		if standard && (bits>>16 != parts[0] || bits&0xffff != parts[1]) {
			t.Errorf("%q is %#x on the wire", s, bits)
		}
	})
}

func TestCommunityOrder(t *testing.T) {
	t.Parallel()
	sorted := []lb.Community{
		lb.MakeCommunity(1, 2), lb.MakeCommunity(1, 3), lb.MakeCommunity(2, 0),
		lb.MakeLargeCommunity(0, 0, 0), lb.MakeLargeCommunity(1, 2, 3), lb.MakeLargeCommunity(1, 2, 4),
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := a.Compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s compared with %s is %d", a, b, got)
			}
		}
	}
}

// The largest prefix in a range, against trying them all.
func TestShortestPrefix(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		family := world[random.IntN(len(world))]
		all := members(family)
		first := random.IntN(len(all))
		r, _ := lb.MakeRange(all[first], all[first+random.IntN(len(all)-first)])
		want := r.First().BitLen()
		for _, a := range members(r) {
			for length := range want {
				p := lb.RangeOf(netip.PrefixFrom(a, length))
				if r.Contains(p.First()) && r.Contains(p.Last()) {
					want = length
					break
				}
			}
		}
		if got := r.ShortestPrefix(); got != want {
			t.Fatalf("ShortestPrefix of %s is %d; want %d", r, got, want)
		}
	}
	for entry, want := range map[string]int{
		"128.0.0.0-223.255.255.255": 2, "10.0.0.254-10.0.0.255": 31, "10.0.0.255-10.0.0.255": 32,
		"10.0.0.1-10.0.0.254": 26, "2001:db8::-2001:db8::ffff": 112,
	} {
		if got := mustParseRange(t, entry).ShortestPrefix(); got != want {
			t.Errorf("ShortestPrefix of %s is %d; want %d", entry, got, want)
		}
	}
}

func mustParseRange(t *testing.T, s string) lb.Range {
	t.Helper()
	r, err := lb.ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
