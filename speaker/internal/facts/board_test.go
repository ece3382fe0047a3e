// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/facts"
)

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

// known is what a board says, in a form that can be compared.
type known struct {
	Claims  map[string]string
	Subnets map[lb.NodeName][]netip.Prefix
}

func knownTo(b *facts.Board) known {
	k := known{Claims: make(map[string]string), Subnets: b.Subnets()}
	for i := range 256 {
		if node, epoch, ok := b.Claimant(address(i), nil); ok {
			_, home := b.Tenure(address(i), nil)
			k.Claims[address(i).String()] = fmt.Sprintf("%s in %d for %s", node, epoch, home)
		}
	}
	return k
}

var equate = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})

// say has a speaker claim addresses and give others up.
func say(b *facts.Board, w facts.Weight, taken, given []netip.Addr) []facts.Statement {
	said, _ := b.Claim(facts.Taking{Addresses: taken, Weight: w}, given)
	return said
}

// cluster is a number of speakers that say things at random, of which each hears the
// most, in any order, some twice.
type cluster struct {
	r      *rand.Rand
	boards []*facts.Board
	boots  uint64
	said   []facts.Statement
}

func nameOf(i int) lb.NodeName { return lb.NodeName(fmt.Sprintf("node-%d", i)) }

func (c *cluster) step() {
	i := c.r.IntN(len(c.boards))
	b := c.boards[i]
	switch c.r.IntN(12) {
	case 0: // a restart
		c.boots++
		c.boards[i] = facts.NewBoard(nameOf(i), c.boots)
	case 1, 2:
		if s, ok := b.SetSubnets([]netip.Prefix{netip.PrefixFrom(address(c.r.IntN(4)*64), 26)}); ok {
			c.said = append(c.said, s)
		}
	case 3:
		c.said = append(c.said, b.Rehome(c.some(), nameOf(c.r.IntN(len(c.boards))))...)
	default:
		taking := facts.Taking{Addresses: c.some(), Weight: facts.Weight(c.r.IntN(3)), Hold: c.r.IntN(2) == 0}
		said, _ := b.Claim(taking, c.some())
		c.said = append(c.said, said...)
	}
	c.hear()
}

func (c *cluster) some() []netip.Addr {
	var as []netip.Addr
	for range c.r.IntN(4) {
		as = append(as, address(c.r.IntN(10)))
	}
	return as
}

func (c *cluster) hear() {
	for range 4 {
		if len(c.said) > 0 {
			c.boards[c.r.IntN(len(c.boards))].Hear(c.said[c.r.IntN(len(c.said))])
		}
	}
	if c.r.IntN(10) == 0 {
		c.exchange(c.r.IntN(len(c.boards)), c.r.IntN(len(c.boards)))
	}
}

func (c *cluster) exchange(i, j int) {
	all := c.boards[i].Everything()
	c.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all {
		c.boards[j].Hear(s)
	}
}

// Whatever was lost, doubled or late, once everybody has heard of everybody from
// somebody, all know the same, and it is what each says of itself.
func TestBoardsAgree(t *testing.T) {
	for seed := range uint64(300) {
		c := &cluster{r: rand.New(rand.NewPCG(seed, 3)), boots: 1}
		for i := range 2 + c.r.IntN(4) {
			c.boards = append(c.boards, facts.NewBoard(nameOf(i), 1))
		}
		for range 100 {
			c.step()
		}
		// A chain there and back, so that all is heard through others.
		for i := range len(c.boards) - 1 {
			c.exchange(i, i+1)
		}
		for i := len(c.boards) - 1; i > 0; i-- {
			c.exchange(i, i-1)
		}
		want := knownTo(c.boards[0])
		for i, b := range c.boards[1:] {
			if diff := cmp.Diff(want, knownTo(b), equate); diff != "" {
				t.Fatalf("seed %d: node-0 and node-%d differ (-node-0 +other):\n%s", seed, i+1, diff)
			}
		}
		for i, b := range c.boards[1:] {
			if b.Fingerprint() != c.boards[0].Fingerprint() {
				t.Fatalf("seed %d: node-0 and node-%d know the same and have other fingerprints", seed, i+1)
			}
		}
		c.expectHonest(t, seed)
	}
}

// expectHonest compares what each says of itself with what the first knows of it.
func (c *cluster) expectHonest(t *testing.T, seed uint64) {
	t.Helper()
	for i, b := range c.boards {
		own := slices.DeleteFunc(b.Everything(), func(s facts.Statement) bool { return s.Node != nameOf(i) })
		alone, heard := facts.NewBoard("observer", 1), facts.NewBoard("observer", 1)
		for _, s := range own {
			alone.Hear(s)
		}
		for _, s := range c.boards[0].Everything() {
			if s.Node == nameOf(i) {
				heard.Hear(s)
			}
		}
		if diff := cmp.Diff(knownTo(alone), knownTo(heard), equate); diff != "" {
			t.Fatalf("seed %d: node-%d says one thing, node-0 knows another (-said +known):\n%s", seed, i, diff)
		}
	}
}

// A node that was cut off keeps its old claim, and hears that another node has taken over.
func TestTakeoverIsLater(t *testing.T) {
	a := address(1)
	x, y := facts.NewBoard("x", 1), facts.NewBoard("y", 1)
	y.Hear(say(x, facts.Full, []netip.Addr{a}, nil)[0])
	takeover := say(y, facts.Full, []netip.Addr{a}, nil)
	if len(takeover) != 1 {
		t.Fatalf("said about a takeover: %+v", takeover)
	}
	news := x.Hear(takeover[0])
	if !slices.Contains(news.Addresses, a) {
		t.Errorf("news %v, want %s", news.Addresses, a)
	}
	for name, b := range map[string]*facts.Board{"x": x, "y": y} {
		if node, _, _ := b.Claimant(a, nil); node != "y" {
			t.Errorf("%s believes that %q has the address, want y", name, node)
		}
	}
}

// The smaller part of a partition takes over what the larger part keeps: when they meet
// again, the larger part has kept it.
func TestMinorityYields(t *testing.T) {
	a, b := address(1), address(2)
	x, y := facts.NewBoard("x", 1), facts.NewBoard("y", 1)
	ofX, ofY := say(x, facts.Full, []netip.Addr{a}, nil), say(y, facts.Full, []netip.Addr{b}, nil)
	x.Hear(ofY[0])
	y.Hear(ofX[0])

	minority, majority := say(x, facts.Minor, []netip.Addr{b}, nil), say(y, facts.Full, []netip.Addr{a}, nil)
	x.Hear(majority[0])
	y.Hear(minority[0])
	for _, board := range []*facts.Board{x, y} {
		for _, addr := range []netip.Addr{a, b} {
			if node, _, _ := board.Claimant(addr, nil); node != "y" {
				t.Errorf("%s is %s's, want y's, who had the majority", addr, node)
			}
		}
	}
}

// Whoever takes an address over holds it for its home, through many hands, until it is
// home again; unless it is told to keep it. A home is found again when it starts anew
// before anybody has taken anything over.
func TestHomes(t *testing.T) {
	a, b := address(1), address(2)
	boards := make(map[lb.NodeName]*facts.Board)
	for _, n := range []lb.NodeName{"x", "y", "z"} {
		boards[n] = facts.NewBoard(n, 1)
	}
	tell := func(said []facts.Statement) {
		for _, other := range boards {
			for _, s := range said {
				other.Hear(s)
			}
		}
	}
	take := func(n lb.NodeName, hold bool, addresses ...netip.Addr) {
		said, _ := boards[n].Claim(facts.Taking{Addresses: addresses, Weight: facts.Firm, Hold: hold}, nil)
		tell(said)
	}
	expect := func(what string, a netip.Addr, holder, home lb.NodeName) {
		t.Helper()
		for n, board := range boards {
			if gotHolder, gotHome := board.Tenure(a, nil); gotHolder != holder || gotHome != home {
				t.Errorf("%s: %s knows %s as %q's for %q, want %q's for %q", what, n, a, gotHolder, gotHome, holder, home)
			}
		}
	}
	take("x", true, a, b)
	expect("at first", a, "x", "x")
	take("y", true, a)
	take("z", true, a)
	expect("taken over twice", a, "z", "x")
	take("x", true, a)
	expect("back", a, "x", "x")
	tell(boards["x"].Rehome([]netip.Addr{a}, "y"))
	expect("left to a newcomer", a, "x", "y")
	take("z", false, a)
	expect("taken over for good", a, "z", "z")

	boards["x"] = facts.NewBoard("x", 2)
	said, _ := boards["x"].SetSubnets([]netip.Prefix{netip.PrefixFrom(a, 32)})
	tell([]facts.Statement{said})
	expect("started anew", b, "", "")
	take("y", true, b)
	expect("started anew", b, "y", "x")
}

// What is said again, or not to be said, is not said.
func TestSilence(t *testing.T) {
	b := facts.NewBoard("x", 1)
	subnets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if _, ok := b.SetSubnets(subnets); !ok {
		t.Error("subnets are not told")
	}
	if _, ok := b.SetSubnets(slices.Clone(subnets)); ok {
		t.Error("the same subnets are told again")
	}
	if said := say(b, facts.Full, nil, []netip.Addr{address(1)}); len(said) > 0 {
		t.Errorf("the end of a claim is told that never was: %+v", said)
	}
	if said := say(b, facts.Minor, []netip.Addr{address(1)}, nil); len(said) != 1 {
		t.Errorf("told about a claim: %+v", said)
	}
	if said := say(b, facts.Minor, []netip.Addr{address(1)}, nil); len(said) > 0 {
		t.Errorf("a claim is told again: %+v", said)
	}
	if said := say(b, facts.Full, []netip.Addr{address(1)}, nil); len(said) != 1 || said[0].Claims[0].Epoch != 1 {
		t.Errorf("a claim of a minority is not renewed when there is a majority: %+v", said)
	}
	if n := b.Claims(); n != 1 {
		t.Errorf("%d claims, want 1", n)
	}
	say(b, facts.Full, nil, []netip.Addr{address(1)})
	if n := b.Claims(); n != 0 {
		t.Errorf("%d claims after all have been given up", n)
	}
}

// Speakers whose nodes are gone are forgotten, with their claims.
func TestKeep(t *testing.T) {
	x, y := facts.NewBoard("x", 1), facts.NewBoard("y", 1)
	x.Hear(say(y, facts.Full, []netip.Addr{address(1)}, nil)[0])
	if news := x.Keep(map[lb.NodeName]struct{}{"y": {}}); len(news.Addresses) > 0 {
		t.Errorf("news %v of a node that is there", news)
	}
	if news := x.Keep(nil); !slices.Contains(news.Addresses, address(1)) {
		t.Errorf("news %v, want the claim of the node that is gone", news)
	}
	if _, _, ok := x.Claimant(address(1), nil); ok {
		t.Error("the claim of a node that is gone counts")
	}
}

// Whoever takes over from a speaker that is gone claims later than that one, heard or not.
func TestUnheardClaims(t *testing.T) {
	a := address(1)
	x, y, z := facts.NewBoard("x", 1), facts.NewBoard("y", 1), facts.NewBoard("z", 1)
	for range 3 { // speakers that have gone before
		x.Bury(1)
	}
	for _, b := range []*facts.Board{y, z} { // z joins later and hears of it
		for _, s := range x.Everything() {
			b.Hear(s)
		}
	}
	unheard := say(x, facts.Full, []netip.Addr{a}, nil)
	z.Bury(1)
	takeover := say(z, facts.Full, []netip.Addr{a}, nil)
	x.Hear(takeover[0])
	z.Hear(unheard[0])
	for name, b := range map[string]*facts.Board{"x": x, "z": z} {
		if node, _, _ := b.Claimant(a, nil); node != "z" {
			t.Errorf("%s believes that %q has the address, want z, which took it over", name, node)
		}
	}
}

// Boards that differ have other fingerprints, also when what each lacks is alike.
func TestFingerprint(t *testing.T) {
	const speakers = 20
	seen := make(map[uint64]bool)
	boards, observer := make([]*facts.Board, speakers), facts.NewBoard("observer", 1)
	for i := range boards {
		boards[i] = facts.NewBoard(nameOf(i), 1)
		observer.Hear(boards[i].Everything()[0])
	}
	seen[observer.Fingerprint()] = true
	for range 50 {
		for i, b := range boards {
			for _, s := range say(b, facts.Full, []netip.Addr{address(i)}, []netip.Addr{address(i + 1)}) {
				observer.Hear(s)
			}
			for _, s := range say(b, facts.Full, []netip.Addr{address(i + 1)}, []netip.Addr{address(i)}) {
				observer.Hear(s)
			}
			if seen[observer.Fingerprint()] {
				t.Fatal("the same fingerprint, and more is known")
			}
			seen[observer.Fingerprint()] = true
		}
	}
}

// A claim that others have taken over while they are not to be seen is not claimed back in
// haste.
func TestDoubt(t *testing.T) {
	a := address(1)
	x, y := facts.NewBoard("x", 1), facts.NewBoard("y", 1)
	y.Hear(say(x, facts.Full, []netip.Addr{a}, nil)[0])
	x.Hear(say(y, facts.Full, []netip.Addr{a}, nil)[0])
	if node, _, _ := x.Claimant(a, map[lb.NodeName]struct{}{"x": {}}); node != "x" {
		t.Errorf("%q has the address among those that are alive, want x", node)
	}
	if said, doubt := x.Claim(facts.Taking{Addresses: []netip.Addr{a}, Weight: facts.Full}, nil); len(said) > 0 || !doubt {
		t.Errorf("said %v, in doubt: %t; want nothing, in doubt", said, doubt)
	}
	if said, doubt := x.Claim(facts.Taking{Addresses: []netip.Addr{a}, Weight: facts.Firm}, nil); len(said) != 1 || doubt {
		t.Errorf("said %v, in doubt: %t; want a claim, and no doubt", said, doubt)
	}
}

// What was taken over on the way into a minority counts as taken over in one.
func TestDemote(t *testing.T) {
	a, b := address(1), address(2)
	x := facts.NewBoard("x", 1)
	say(x, facts.Full, []netip.Addr{a}, nil)
	before := x.Term()
	x.Bury(1)
	say(x, facts.Full, []netip.Addr{b}, nil)
	said := x.Demote(before)
	_, ofA, claimedA := x.Claimant(a, nil)
	_, ofB, claimedB := x.Claimant(b, nil)
	if len(said) != 1 || !claimedA || ofA == 0 || !claimedB || ofB != 0 {
		t.Errorf("said %v; %s is claimed in epoch %d, want one that counts; %s in epoch %d, want 0", said, a, ofA, b, ofB)
	}
	if said := x.Demote(before); len(said) > 0 {
		t.Errorf("said again: %v", said)
	}
}
