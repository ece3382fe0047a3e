// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// world is where random pools are: a few addresses of each family, so that they meet.
var world = []lb.Range{
	lb.RangeOf(netip.MustParsePrefix("192.0.2.192/26")),
	lb.RangeOf(netip.MustParsePrefix("2001:db8::ffc0/122")),
}

// randomPools returns pools in a random order, with overlaps within and between them;
// some have the same age, and some are broken.
func randomPools(random *rand.Rand) []*v1beta1.IPAddressPool {
	var pools []*v1beta1.IPAddressPool
	for i := range 1 + random.IntN(6) {
		p := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("pool-", i), CreationTimestamp: metav1.NewTime(created.Add(time.Duration(random.IntN(3)) * time.Second)),
		}}
		for range 1 + random.IntN(4) {
			p.Spec.Addresses = append(p.Spec.Addresses, randomEntry(random))
		}
		if random.IntN(8) == 0 {
			p.Spec.Addresses = append(p.Spec.Addresses, "a slip")
		}
		pools = append(pools, p)
	}
	random.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
	return pools
}

func randomEntry(random *rand.Rand) string {
	all := members(world[random.IntN(len(world))])
	first := random.IntN(len(all))
	if random.IntN(3) == 0 {
		a := all[first]
		return netip.PrefixFrom(a, a.BitLen()-random.IntN(6)).String()
	}
	return fmt.Sprintf("%s - %s", all[first], all[first+random.IntN(len(all)-first)])
}

// wanted is what an entry spells out, in order; nil when it cannot be read.
func wanted(t *testing.T, entry string) []netip.Addr {
	t.Helper()
	if entry == "a slip" {
		return nil
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		return members(lb.RangeOf(p))
	}
	first, last, _ := strings.Cut(entry, " - ")
	r, ok := lb.MakeRange(addr(first), addr(last))
	if !ok {
		t.Fatalf("the test made the entry %q", entry)
	}
	return members(r)
}

// Every address of every pool goes to the oldest pool that lists it and can be read,
// in the order in which it lists them, and whoever does not get one is told.
func TestOldestPoolKeepsAddress(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 7))
		pools := randomPools(random)
		config, problems := lb.ParseConfig(lb.Objects{Pools: pools})
		check := newPoolOracle(t, pools)
		for _, p := range config.Pools {
			if p.Broken != check.broken[p.Name] {
				t.Fatalf("seed %d: %s is broken: %v; want %v", seed, p.Name, p.Broken, check.broken[p.Name])
			}
			var got []netip.Addr
			for _, r := range p.Ranges {
				got = append(got, members(r)...)
			}
			if diff := gocmp.Diff(fmt.Sprint(check.gets[p.Name]), fmt.Sprint(got)); diff != "" {
				t.Fatalf("seed %d: addresses of %s (-want +got):\n%s", seed, p.Name, diff)
			}
		}
		told := map[string]bool{}
		for _, p := range problems {
			if p.Reason == lb.ReasonConflict {
				told[p.Object.Name] = true
			}
		}
		if diff := gocmp.Diff(check.loses, told); diff != "" {
			t.Fatalf("seed %d: pools in conflict with an older one (-want +got):\n%s", seed, diff)
		}
	}
}

// poolOracle decides address by address.
type poolOracle struct {
	gets          map[string][]netip.Addr
	loses, broken map[string]bool
}

func newPoolOracle(t *testing.T, pools []*v1beta1.IPAddressPool) poolOracle {
	t.Helper()
	o := poolOracle{map[string][]netip.Addr{}, map[string]bool{}, map[string]bool{}}
	owner := map[netip.Addr]string{}
	pools = slices.Clone(pools)
	slices.SortFunc(pools, func(a, b *v1beta1.IPAddressPool) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for _, p := range pools {
		if slices.Contains(p.Spec.Addresses, "a slip") {
			o.broken[p.Name] = true
			continue
		}
		for _, entry := range p.Spec.Addresses {
			for _, a := range wanted(t, entry) {
				switch owner[a] {
				case "":
					owner[a] = p.Name
					o.gets[p.Name] = append(o.gets[p.Name], a)
				case p.Name: // Listed twice.
				default:
					o.loses[p.Name] = true
				}
			}
		}
	}
	return o
}

// What is made of the objects does not depend on the order in which they arrive.
func TestParseConfigIgnoresOrder(t *testing.T) {
	t.Parallel()
	var all lb.Objects
	for _, in := range goldenInputs(t) {
		objects, err := decode(in)
		if err != nil {
			t.Fatal(err)
		}
		checkOrder(t, objects)
		all = join(all, objects)
	}
	checkOrder(t, all) // Many objects of the same names and ages, too.
	for seed := range uint64(50) {
		checkOrder(t, lb.Objects{Pools: randomPools(rand.New(rand.NewPCG(seed, 9)))})
	}
}

func goldenInputs(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in testdata (%v)", err)
	}
	var inputs []string
	for _, path := range paths {
		in, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, string(in))
	}
	return inputs
}

func join(a, b lb.Objects) lb.Objects {
	return lb.Objects{
		Pools:             append(a.Pools, b.Pools...),
		L2Advertisements:  append(a.L2Advertisements, b.L2Advertisements...),
		BGPAdvertisements: append(a.BGPAdvertisements, b.BGPAdvertisements...),
		BGPPeers:          append(a.BGPPeers, b.BGPPeers...),
		BFDProfiles:       append(a.BFDProfiles, b.BFDProfiles...),
		Communities:       append(a.Communities, b.Communities...),
	}
}

// rename gives objects that come from several files names of their own, half of them
// such that the order of names turns around.
func rename[T metav1.Object](objects []T) {
	for i, o := range objects {
		if i%2 == 0 {
			o.SetName(fmt.Sprintf("%03d-%s", len(objects)-i, o.GetName()))
		} else {
			o.SetName(fmt.Sprintf("%s-%03d", o.GetName(), i))
		}
	}
}

func checkOrder(t *testing.T, objects lb.Objects) {
	t.Helper()
	rename(objects.Pools)
	rename(objects.L2Advertisements)
	rename(objects.BGPAdvertisements)
	rename(objects.BGPPeers)
	rename(objects.BFDProfiles)
	rename(objects.Communities)
	want := render(lb.ParseConfig(objects))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		shuffle(random, objects.Pools)
		shuffle(random, objects.L2Advertisements)
		shuffle(random, objects.BGPAdvertisements)
		shuffle(random, objects.BGPPeers)
		shuffle(random, objects.BFDProfiles)
		shuffle(random, objects.Communities)
		if diff := gocmp.Diff(want, render(lb.ParseConfig(objects))); diff != "" {
			t.Fatalf("parsed in two orders (-one +other):\n%s", diff)
		}
	}
}

func shuffle[T any](random *rand.Rand, list []T) {
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// FuzzParseConfig reads manifests. Whatever can be decoded can be parsed, into disjoint
// pools, and into the same ones from the other end.
func FuzzParseConfig(f *testing.F) {
	for _, in := range goldenInputs(f) {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, manifests string) {
		objects, err := decode(manifests)
		if err != nil {
			return
		}
		rename(objects.Pools) // The API server keeps names unique; a fuzzer does not.
		rename(objects.L2Advertisements)
		rename(objects.BGPAdvertisements)
		rename(objects.BGPPeers)
		rename(objects.Communities)
		config, problems := lb.ParseConfig(objects)
		checkSound(t, config, problems)
		slices.Reverse(objects.Pools)
		slices.Reverse(objects.L2Advertisements)
		slices.Reverse(objects.BGPAdvertisements)
		slices.Reverse(objects.BGPPeers)
		slices.Reverse(objects.Communities)
		if diff := gocmp.Diff(render(config, problems), render(lb.ParseConfig(objects))); diff != "" {
			t.Errorf("parsed from both ends (-one +other):\n%s", diff)
		}
	})
}

// checkSound checks what holds of every configuration.
func checkSound(t *testing.T, config lb.Config, problems []lb.Problem) {
	t.Helper()
	fatal := map[lb.Object]bool{}
	for _, p := range problems {
		if p.Field == "" || p.Message == "" || p.Object.Name == "" || p.Reason == lb.ReasonAccepted {
			t.Errorf("problem that says too little: %+v", p)
		}
		if p.Fatal {
			fatal[p.Object] = true
		}
	}
	var seen []lb.Range
	for _, p := range config.Pools {
		if p.Broken && len(p.Ranges) > 0 {
			t.Errorf("pool %s is broken and has ranges", p.Name)
		}
		for _, r := range p.Ranges {
			for _, other := range seen {
				if r.Overlaps(other) {
					t.Errorf("%s of pool %s overlaps %s", r, p.Name, other)
				}
			}
			seen = append(seen, r)
		}
	}
	for _, ad := range config.L2Advertisements {
		for o := range fatal {
			if o.Kind == "L2Advertisement" && o.Name == ad.Name {
				t.Errorf("%s has a fatal problem and is in use", o)
			}
		}
		for name := range ad.Pools {
			if _, ok := config.PoolByName(name); !ok {
				t.Errorf("advertisement %s covers the pool %q, which there is not", ad.Name, name)
			}
		}
	}
}

// FuzzCommunity holds community values against the notation as RFC 1997 and RFC 8092
// users write it, in a regular expression.
func FuzzCommunity(f *testing.F) {
	for _, s := range []string{"64512:100", "0:0", "65535:65535", "65536:1", "large:1:2:3", "large:4294967295:0:0", "large:4294967296:0:0", "large:1:2", "1", ":", "1:2:3", "+1:2", "large", "", "00001:2", "large:large:1:2"} {
		f.Add(s)
	}
	number := `0*(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])`
	long := `0*(\d{1,9}|[1-3]\d{9}|4[01]\d{8}|42[0-8]\d{7}|429[0-3]\d{6}|4294[0-8]\d{5}|42949[0-5]\d{4}|429496[0-6]\d{3}|4294967[01]\d{2}|42949672[0-8]\d|429496729[0-5])`
	notation := regexp.MustCompile(`\A(` + number + `:` + number + `|large:` + long + `:` + long + `:` + long + `)\z`)
	f.Fuzz(func(t *testing.T, value string) {
		object := &v1beta1.Community{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
		object.Spec.Communities = []v1beta1.CommunityAlias{{Name: "alias", Value: value}}
		_, problems := lb.ParseConfig(lb.Objects{Communities: []*v1beta1.Community{object}})
		if valid := notation.MatchString(value); valid != (len(problems) == 0) {
			t.Errorf("%q is a community: %v; problems: %v", value, valid, problems)
		}
	})
}

func TestPoolAdmits(t *testing.T) {
	t.Parallel()
	red := labels.SelectorFromSet(labels.Set{"team": "red"})
	web := labels.SelectorFromSet(labels.Set{"app": "web"})
	for _, tt := range []struct {
		name       string
		allocation *lb.PoolAllocation
		want       bool
	}{
		{"everyone", nil, true},
		{"priority only", &lb.PoolAllocation{Priority: 5}, true},
		{"namespace by name", &lb.PoolAllocation{Namespaces: []string{"bank", "shop"}}, true},
		{"another namespace", &lb.PoolAllocation{Namespaces: []string{"bank"}}, false},
		{"namespace by label", &lb.PoolAllocation{NamespaceSelectors: []labels.Selector{red}}, true},
		{"another label", &lb.PoolAllocation{NamespaceSelectors: []labels.Selector{web}}, false},
		{"either name or label", &lb.PoolAllocation{Namespaces: []string{"bank"}, NamespaceSelectors: []labels.Selector{red}}, true},
		{"service", &lb.PoolAllocation{ServiceSelectors: []labels.Selector{red, web}}, true},
		{"another service", &lb.PoolAllocation{ServiceSelectors: []labels.Selector{red}}, false},
		{"namespace and service", &lb.PoolAllocation{Namespaces: []string{"shop"}, ServiceSelectors: []labels.Selector{web}}, true},
		{"namespace, but not service", &lb.PoolAllocation{Namespaces: []string{"shop"}, ServiceSelectors: []labels.Selector{red}}, false},
		{"service, but not namespace", &lb.PoolAllocation{Namespaces: []string{"bank"}, ServiceSelectors: []labels.Selector{web}}, false},
	} {
		pool := lb.Pool{Allocation: tt.allocation}
		if got := pool.Admits("shop", labels.Set{"team": "red"}, labels.Set{"app": "web"}); got != tt.want {
			t.Errorf("%s: Admits = %v; want %v", tt.name, got, tt.want)
		}
	}
}

func BenchmarkParseConfig(b *testing.B) {
	var objects lb.Objects
	for i := range 1000 {
		p := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pool-", i)}}
		for j := range 4 {
			p.Spec.Addresses = append(p.Spec.Addresses, fmt.Sprintf("10.%d.%d.0/24", i%250, i/250*8+j))
		}
		objects.Pools = append(objects.Pools, p)
	}
	objects.L2Advertisements = []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}}
	b.ReportAllocs()
	for b.Loop() {
		lb.ParseConfig(objects)
	}
}
