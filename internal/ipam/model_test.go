// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

var modelSteps = flag.Int("ipam.steps", 100_000, "random operations that TestModel performs")

// source is where a model run takes its choices from: a random generator, or the
// input of a fuzzer, which ends.
type source func(n int) int

func randomSource(seed uint64) source {
	r := rand.New(rand.NewPCG(seed, 1))
	return r.IntN
}

func bytesSource(b []byte) source {
	return func(n int) int {
		if len(b) == 0 {
			return 0
		}
		v := int(b[0])
		b = b[1:]
		return v % n
	}
}

func (s source) chance(oneIn int) bool { return s(oneIn) == oneIn-1 }

// world drives an Allocator and the oracle side by side.
type world struct {
	t      testing.TB
	choose source
	sut    *ipam.Allocator
	oracle *oracle
	// mirror is what the outcomes alone tell about every Service.
	mirror map[lb.ServiceName]ipam.Outcome
	claims map[lb.ServiceName]ipam.Claim
	pools  []lb.Pool
	trace  []string
	// reserved are the reservations, standings what was said about them last.
	reserved  map[lb.ServiceName][]ipam.Reservation
	standings map[lb.ReservationName]ipam.Standing
	// latest are the outcomes since the last comparison.
	latest []ipam.Outcome
}

func newWorld(t testing.TB, choose source) *world {
	return &world{
		t: t, choose: choose, sut: ipam.New(), oracle: &oracle{},
		mirror: map[lb.ServiceName]ipam.Outcome{}, claims: map[lb.ServiceName]ipam.Claim{},
		reserved: map[lb.ServiceName][]ipam.Reservation{}, standings: map[lb.ReservationName]ipam.Standing{},
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	steps := *modelSteps
	if testing.Short() {
		steps /= 10
	}
	const perWorld = 500
	for seed := range uint64(steps / perWorld) {
		w := newWorld(t, randomSource(seed))
		w.trace = append(w.trace, fmt.Sprintf("seed %d", seed))
		for range perWorld {
			w.step()
		}
	}
}

func FuzzModel(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 600)
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld(t, bytesSource(b))
		for range min(len(b)/8, 40) {
			w.step()
		}
	})
}

// step performs one random operation on both and compares them.
func (w *world) step() {
	switch n := w.choose(20); {
	case n < 1:
		w.setPools(w.randomPools())
	case n < 2:
		w.restart()
	case n < 6:
		w.release(w.randomName())
	case n < 7:
		w.reserve()
	case n < 9 && len(w.claims) > 0:
		w.assignAgain()
	default:
		w.assign(w.randomClaim(w.randomName()))
	}
	w.compare()
}

func (w *world) setPools(pools []lb.Pool) {
	w.trace = append(w.trace, fmt.Sprintf("SetPools %+v", pools))
	w.pools = pools
	w.steady(func() {
		w.note(w.sut.SetPools(pools))
		w.oracle.setPools(pools)
	})
}

func (w *world) assign(c ipam.Claim) {
	w.trace = append(w.trace, fmt.Sprintf("Assign %+v %v", *c.Service, c.NamespaceLabels))
	delete(w.claims, c.Service.Name) // it may move: its claim is another now
	w.steady(func() {
		out := w.sut.Assign(c)
		if out[0].Service != c.Service.Name {
			w.fail("Assign(%s) reports %s first", c.Service.Name, out[0].Service)
		}
		w.note(out)
		w.oracle.assign(c)
	})
	w.claims[c.Service.Name] = c
}

// assignAgain repeats a claim, which must make no difference.
func (w *world) assignAgain() {
	names := make([]lb.ServiceName, 0, len(w.claims))
	for name := range w.claims {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b lb.ServiceName) int { return compareStrings(a.String(), b.String()) })
	name := names[w.choose(len(names))]
	before := w.mirror[name]
	out := w.sut.Assign(w.claims[name])
	w.trace = append(w.trace, fmt.Sprintf("Assign again %s", name))
	same := before
	same.Previous, same.Cause = before.Addresses, ""
	if diff := cmp.Diff([]ipam.Outcome{same}, out, cmpAddrs()); diff != "" {
		w.fail("the same claim of %s again makes a difference (-before +after):\n%s", name, diff)
	}
}

func (w *world) release(name lb.ServiceName) {
	w.trace = append(w.trace, fmt.Sprintf("Release %s", name))
	delete(w.claims, name)
	delete(w.mirror, name)
	w.steady(func() {
		w.note(w.sut.Release(name))
		w.oracle.release(name)
	})
}

// restart begins anew from what the Services' statuses say, as a new process does.
// No address may change that way.
func (w *world) restart() {
	w.trace = append(w.trace, "restart")
	before := w.mirror
	w.sut, w.oracle = ipam.New(), &oracle{}
	w.mirror = map[lb.ServiceName]ipam.Outcome{}
	w.sut.SetPools(w.pools)
	w.oracle.setPools(w.pools)
	w.reserveAgain()
	claims := make([]ipam.Claim, 0, len(w.claims))
	for name, c := range w.claims {
		found := *c.Service
		if !c.Foreign {
			found.Addresses, found.AllocatedFrom = before[name].Addresses, before[name].Pool
		}
		c.Service = &found
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b ipam.Claim) int {
		if a.Foreign != b.Foreign {
			return compareStrings(fmt.Sprint(a.Foreign), fmt.Sprint(b.Foreign))
		}
		if c := a.Service.Created.Compare(b.Service.Created); c != 0 {
			return c
		}
		return compareStrings(a.Service.Name.String(), b.Service.Name.String())
	})
	for _, c := range claims {
		if got := w.sut.Adopt(c); got.Cause != "" {
			w.fail("restart takes %v from %s: %s", got.Previous, c.Service.Name, got.Cause)
		}
		w.oracle.adopt(c)
	}
	for _, c := range claims {
		w.note(w.sut.Assign(c))
		w.oracle.assign(c)
	}
	for name, b := range before {
		if w.claims[name].Foreign {
			continue // two of them may show one address, and it does not matter whose it is
		}
		if diff := cmp.Diff(b.Addresses, w.mirror[name].Addresses, cmpAddrs()); diff != "" {
			w.fail("restart changes the addresses of %s (-before +after):\n%s", name, diff)
		}
	}
}

func (w *world) note(out []ipam.Outcome) {
	for _, o := range out {
		before := w.mirror[o.Service].Addresses
		if diff := cmp.Diff(before, o.Previous, cmpAddrs()); diff != "" && before != nil {
			w.fail("%s had other addresses than its outcome says (-had +says):\n%s", o.Service, diff)
		}
		lost := slices.ContainsFunc(o.Previous, func(a netip.Addr) bool { return !slices.Contains(o.Addresses, a) })
		if lost != (o.Cause != "") {
			w.fail("%s lost an address: %v, but the cause is %q", o.Service, lost, o.Cause)
		}
		if (o.Message == "") && o.Reason != lb.ReasonAllocated {
			w.fail("%s is refused (%s) without a message", o.Service, o.Reason)
		}
		w.mirror[o.Service] = o
		w.latest = append(w.latest, o)
	}
}

// compare holds everything the Allocator said against the oracle.
func (w *world) compare() {
	waiting := 0
	for _, want := range w.oracle.claims {
		got := w.mirror[want.Service.Name]
		var addrs []netip.Addr
		pool := ""
		for _, h := range want.has {
			addrs = append(addrs, h.addr)
		}
		if len(want.has) > 0 {
			pool = want.has[0].pool
		}
		if len(want.has) == 2 && want.has[1].pool != pool {
			pool += "," + want.has[1].pool
		}
		if !slices.Equal(got.Addresses, addrs) || got.Pool != pool || got.Reason != want.reason {
			w.fail("%s has %v from %q (%s: %s), want %v from %q (%s)", want.Service.Name,
				got.Addresses, got.Pool, got.Reason, got.Message, addrs, pool, want.reason)
		}
		if !slices.Equal(w.sut.Held(want.Service.Name), addrs) {
			w.fail("Held(%s) = %v, want %v", want.Service.Name, w.sut.Held(want.Service.Name), addrs)
		}
		if want.unmet {
			waiting++
		}
	}
	if got := w.sut.Waiting(); got != waiting {
		w.fail("%d are waiting, want %d", got, waiting)
	}
	w.checkNoDouble()
	w.checkCounters()
	w.checkStandings()
}

func (w *world) checkNoDouble() {
	for i, a := range w.oracle.claims {
		for _, b := range w.oracle.claims[:i] {
			for _, addr := range w.mirror[a.Service.Name].Addresses {
				if slices.Contains(w.mirror[b.Service.Name].Addresses, addr) && !mayShare(a.Claim, b.Claim) {
					w.fail("%s is given to both %s and %s", addr, a.Service.Name, b.Service.Name)
				}
			}
		}
	}
}

func (w *world) checkCounters() {
	var want []ipam.Usage
	for i := range w.pools {
		p := &w.pools[i]
		u := ipam.Usage{Pool: p.Name}
		used := map[netip.Addr]bool{}
		for _, c := range w.oracle.claims {
			for _, h := range c.has {
				if h.pool == p.Name {
					used[h.addr] = true
				}
			}
		}
		for a := range used {
			if a.Is4() {
				u.AssignedIPv4++
			} else {
				u.AssignedIPv6++
			}
		}
		for _, a := range slices.Concat(list(p, lb.IPv4), list(p, lb.IPv6)) {
			if used[a] || len(w.oracle.ownersOf(a)) == 0 {
				continue
			}
			if a.Is4() {
				u.ReservedIPv4++
			} else {
				u.ReservedIPv6++
			}
		}
		u.AvailableIPv4 = max(0, int64(len(list(p, lb.IPv4)))-u.AssignedIPv4-u.ReservedIPv4)
		u.AvailableIPv6 = max(0, int64(len(list(p, lb.IPv6)))-u.AssignedIPv6-u.ReservedIPv6)
		want = append(want, u)
	}
	if got := w.sut.Usages(); !slices.Equal(got, want) {
		w.fail("usages are %+v, want %+v", got, want)
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace[max(0, len(w.trace)-40):] {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

func (w *world) randomName() lb.ServiceName {
	return lb.ServiceName{Namespace: pick(w.choose, "n1", "n2"), Name: fmt.Sprintf("s%d", w.choose(7))}
}

func (w *world) randomClaim(name lb.ServiceName) ipam.Claim {
	c := w.choose
	s := &lb.Service{
		Name:    name,
		Created: time.Unix(int64(c(4)), 0),
		Labels:  labels.Set{"tier": pick(c, "gold", "lead")},
		FamilyPolicy: pick(c, corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicySingleStack,
			corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack),
		Families: pick(c, []lb.Family{lb.IPv4}, []lb.Family{lb.IPv4, lb.IPv6}, []lb.Family{lb.IPv6, lb.IPv4}, []lb.Family{lb.IPv6}),
		Ports: pick(c, []lb.Port{{Protocol: "TCP", Number: 80}}, []lb.Port{{Protocol: "UDP", Number: 80}},
			[]lb.Port{{Protocol: "TCP", Number: 80}, {Protocol: "TCP", Number: 443}}, nil),
	}
	if old, ok := w.claims[name]; ok && !c.chance(5) {
		s.Created = old.Service.Created
	}
	if c(2) == 1 {
		s.SharingKey = pick(c, "k1", "k1", "k2")
		s.Local, s.Backends, s.LocalSharing = c.chance(3), pick(c, "app=a", "app=a", "app=b", "app=c"), c(2) == 1
	}
	s.AnyPools = c(2) == 1
	if c.chance(4) {
		s.Pool = pick(c, "a", "b", "c", "nowhere")
	}
	if c.chance(3) {
		s.Requested = pick(c, []netip.Addr{v4(c(14))}, []netip.Addr{v6(c(10))}, []netip.Addr{v4(c(14)), v6(c(10))},
			[]netip.Addr{v6(c(10)), v4(c(14))})
	}
	claim := ipam.Claim{Service: s, NamespaceLabels: labels.Set{"env": pick(c, "test", "live")}}
	if c.chance(12) {
		claim.Foreign = true
		s.Addresses = pick(c, nil, []netip.Addr{v4(c(14))}, []netip.Addr{v4(c(14)), v6(c(10))}, []netip.Addr{v6(c(10))})
		s.AllocatedFrom = pick(c, "", "a", "a,b")
	}
	if c.chance(20) {
		claim.Invalid = "the annotation makes no sense"
	}
	return claim
}

// randomPools deals small chunks of the address space out to pools.
func (w *world) randomPools() []lb.Pool {
	c := w.choose
	var pools []lb.Pool
	for i, name := range []string{"a", "b", "c"}[:c(4)] {
		p := lb.Pool{Name: name, AutoAssign: !c.chance(4), AvoidBuggyIPs: c.chance(3), Broken: c.chance(8)}
		if c.chance(3) {
			p.Allocation = randomAllocation(c)
			p.Allocation.Priority = i
		}
		pools = append(pools, p)
	}
	if len(pools) == 0 {
		return nil
	}
	for chunk := range 7 {
		for _, addr := range []func(int) netip.Addr{v4, v6} {
			p := &pools[c(len(pools))]
			if c.chance(3) || p.Broken {
				continue
			}
			r, _ := lb.MakeRange(addr(2*chunk), addr(2*chunk+c(2)))
			p.Ranges = slices.Insert(p.Ranges, c(len(p.Ranges)+1), r)
		}
	}
	return pools
}

func randomAllocation(c source) *lb.PoolAllocation {
	a := &lb.PoolAllocation{}
	selector := func(key, value string) []labels.Selector {
		return []labels.Selector{labels.SelectorFromSet(labels.Set{key: value})}
	}
	if c(2) == 1 {
		a.Namespaces = []string{"n1"}
	}
	if c(2) == 1 {
		a.NamespaceSelectors = selector("env", "live")
	}
	if c(2) == 1 {
		a.ServiceSelectors = selector("tier", "gold")
	}
	return a
}

// v4 are addresses around a boundary of /24s, where the buggy ones are.
func v4(i int) netip.Addr { return nth(netip.MustParseAddr("10.0.0.250"), i) }

func v6(i int) netip.Addr { return nth(netip.MustParseAddr("2001:db8::"), i) }

func nth(a netip.Addr, i int) netip.Addr {
	for range i {
		a = a.Next()
	}
	return a
}

func pick[T any](c source, options ...T) T { return options[c(len(options))] }

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func cmpAddrs() cmp.Option { return cmp.Comparer(func(a, b netip.Addr) bool { return a == b }) }
